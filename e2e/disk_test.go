//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// disk is where one process writes, and can be made full. It is a small file
// system of its own where one may be mounted. Elsewhere the process is forbidden
// to let files grow, which fails the same calls with another error (EFBIG for
// ENOSPC).
type disk struct {
	dir     string
	mounted bool
	pid     func() (int, error) // of the process
}

// newDisk makes a folder that is a disk of a size such as 64m. What writes there
// must end before the disk does: it ends with the test, before what the test cleaned
// up until now.
func newDisk(t testing.TB, dir, size string, pid func() (int, error)) *disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := &disk{dir: dir, pid: pid}
	if os.Getenv("E2E_MOUNT") == "0" {
		return d
	}
	err := syscall.Mount("ragstreams-e2e", dir, "tmpfs", 0, "size="+size)
	d.mounted = err == nil
	if !d.mounted {
		t.Logf("no disk can be mounted (%v): files are limited instead", err)
		return d
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return d
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill leaves no room.
func (d *disk) fill() error {
	if !d.mounted {
		return d.limit(smallFile)
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}

// free makes room again. A process that was started since fill has it anyway
// where there is no disk.
func (d *disk) free() error {
	if !d.mounted {
		return nil
	}
	return os.Remove(d.ballast())
}

// smallFile is more than what a program logs here, and less than what a server
// stores.
const smallFile = 64 << 10

// limit sets how large a file may become by the hand of the process.
func (d *disk) limit(size int) error {
	pid, err := d.pid()
	if err != nil {
		return err
	}
	text, err := exec.Command("prlimit", "--pid", strconv.Itoa(pid), fmt.Sprintf("--fsize=%d:", size)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("limit the files of process %d: %w: %s", pid, err, text)
	}
	return nil
}
