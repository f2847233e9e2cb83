//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreFileSizeLimit makes a write beyond the limit on file sizes (ulimit -f) an
// error, like one on a full disk, instead of a signal that ends the process.
func ignoreFileSizeLimit() { signal.Ignore(syscall.SIGXFSZ) }
