//go:build !unix

package main

// ignoreFileSizeLimit has nothing to do where there is no such limit.
func ignoreFileSizeLimit() {}
