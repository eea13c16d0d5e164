// Package privilege gives up what the process does not need, for good and before anything from the network is heard.
//
// It owns the list of capabilities and of system calls that the daemon keeps. The daemon calls Confine once, while it is
// starting; nothing here runs afterwards, and it starts no goroutine. It follows no RFC: capabilities(7), seccomp(2),
// no_new_privs in prctl(2).
//
// Capabilities belong to threads, and a Go process has several before its first line runs, some of them not Go's where it is
// linked with C. So Confine reduces its own thread and has it execute the program again: all threads of the new image come from
// that one. Process ID, arguments, environment and open descriptors stay.
package privilege
