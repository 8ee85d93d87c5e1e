package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a program in a namespace that is started, ended and watched.
type process struct {
	name string // as it is told to people

	mutex    sync.Mutex
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process is gone
	expected bool          // its end is our doing
	begun    time.Time
}

// program is what a process runs.
type program struct {
	space       string // its namespace
	words       []string
	environment []string // nil: ours
	out, log    string   // files that its output is added to
}

// run starts it, with the mutex held. byItself is called, with the mutex held, if it ends and nobody asked for that.
func (p *process) run(what program, byItself func(status int, err error)) error {
	cmd := exec.Command("ip", append([]string{"netns", "exec", what.space}, what.words...)...)
	log, err := os.OpenFile(what.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	out, err := os.OpenFile(what.out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr, cmd.Env = out, log, what.environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ended, p.expected, p.begun = cmd, make(chan struct{}), false, time.Now()
	go p.watch(cmd, p.ended, byItself)
	return nil
}

func (p *process) watch(cmd *exec.Cmd, ended chan struct{}, byItself func(int, error)) {
	err := cmd.Wait()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	close(ended)
	if !p.expected {
		byItself(cmd.ProcessState.ExitCode(), err)
	}
}

// Signal sends the process a signal; one that has ended gets none.
func (p *process) Signal(what syscall.Signal) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s was never started", p.name)
	}
	if p.running() {
		return p.cmd.Process.Signal(what)
	}
	return nil
}

// running, with the mutex held.
func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop ends the process with SIGTERM and waits until it is gone.
func (p *process) Stop() error { return p.end(syscall.SIGTERM) }

// expectEnd says that from now on an end of the process is our doing.
func (p *process) expectEnd() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.expected = true
}

// age is for how long the process has run.
func (p *process) age() time.Duration {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return time.Since(p.begun)
}

func (p *process) end(what syscall.Signal) error {
	p.mutex.Lock()
	if p.cmd == nil {
		p.mutex.Unlock()
		return nil
	}
	p.expected = true
	cmd, ended := p.cmd, p.ended
	_ = cmd.Process.Signal(what)
	p.mutex.Unlock()
	select {
	case <-ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%s did not end in 30 s after signal %v", p.name, what)
	}
}
