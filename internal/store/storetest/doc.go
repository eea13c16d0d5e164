// Package storetest is for tests: the contract that every engine of the store must pass, and a store to test with.
package storetest
