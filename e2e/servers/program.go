package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Program is a process that can be started again and again; what it prints goes
// to one log. Its methods must not be called at the same time.
type Program struct {
	Name string

	dir    string
	binary string
	args   []string
	env    []string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process of the last Start has ended
}

// Program describes a process; Start starts it. The name is that of its folder.
func (s *Site) Program(name, binary string, env []string, args ...string) *Program {
	return &Program{Name: name, dir: filepath.Join(s.Dir, name), binary: binary, args: args, env: env}
}

// Start starts the process, which must not be running.
func (p *Program) Start() error {
	if p.Running() {
		return fmt.Errorf("start %s: it is running", p.Name)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "program"), []byte(p.binary), 0o644); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.binary, p.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), cmd.Process.Kill())
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // the exit status is read from ProcessState
		close(ended)
	}()
	return nil
}

// Running reports whether the process is there.
func (p *Program) Running() bool {
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// PID returns the process id of the last Start.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Program) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %s to %s: %w", sig, p.Name, err)
	}
	return nil
}

// Kill ends the process at once and returns when it has ended.
func (p *Program) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// Wait waits for the end of the process and returns its exit code: -1 when a
// signal has ended it.
func (p *Program) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of %s: %w", p.Name, ctx.Err())
	}
}

// Stop asks the process to end and returns an error if it does not within limit,
// or ends with anything but 0.
func (p *Program) Stop(limit time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	code, err := p.Wait(ctx)
	switch {
	case err != nil:
		return errors.Join(err, p.Kill())
	case code != 0:
		return fmt.Errorf("%s ended with %d", p.Name, code)
	}
	return nil
}

// Log returns what the process has printed, over all its starts.
func (p *Program) Log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Tail returns the last lines of the log.
func (p *Program) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Usage returns what the running process has used so far.
func (p *Program) Usage() (Usage, error) { return UsageOf(p.PID()) }

// Usage is what a process has used.
type Usage struct {
	CPU  time.Duration // user and system
	Peak int64         // greatest resident memory, bytes
}

// tick is the unit of times in /proc/PID/stat (USER_HZ, 100 on all of Linux).
const tick = 10 * time.Millisecond

// UsageOf returns what a running process has used so far.
func UsageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read usage: %w", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read usage: %w", err)
	}
	return parseUsage(string(stat), string(status))
}

func parseUsage(stat, status string) (Usage, error) {
	// The second field is the command in parentheses and may hold anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("read usage: %d fields after the command in %q, want 13 or more", len(fields), stat)
	}
	var u Usage
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("read usage: %w", err)
		}
		u.CPU += time.Duration(n) * tick
	}
	_, after, found := strings.Cut(status, "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(after, &kb); !found || err != nil {
		return Usage{}, errors.New("read usage: no VmHWM in the status of the process")
	}
	u.Peak = kb << 10
	return u, nil
}
