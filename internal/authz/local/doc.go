// Package local decides logins from a table of users with clear-text passwords, as PAP, CHAP-MD5 and MS-CHAPv2 need them.
//
// It owns no data: session gives it a UserSource that reads the store. It starts no goroutine, and an unknown user costs
// the same work and gets the same answer as a wrong password.
//
// RFCs: 1334 (PAP), 1994 (CHAP), 2759 (MS-CHAPv2), 3079 (MPPE keys).
package local
