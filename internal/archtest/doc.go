// Package archtest holds the import rules between the rooms of the tree, as a test.
//
// A room is a folder that rules.go names; everything below it belongs to it. The test asks `go list` who imports whom and
// names each import that the rules do not allow, each third-party module that has no owner, and each package that lives
// in no room. Test files are exempt: a test may reach across rooms.
//
// Nothing imports this package and it starts no goroutine.
package archtest
