package pid1

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"ichor/rpc"
	machinev1 "ichor/rpc/machine/v1"
)

// task is a piece of work of the boot.
type task struct {
	name string
	run  func(context.Context) error
}

// phase is a step of the boot. Its tasks do not depend on each other and run
// side by side; the next phase starts when all have ended.
type phase struct {
	name  string
	tasks []task
}

// phaseError names the phase, the task and the error.
type phaseError struct {
	Phase, Task string
	Err         error
}

func (e *phaseError) Error() string {
	return fmt.Sprintf("phase %s: %s: %v", e.Phase, e.Task, e.Err)
}

func (e *phaseError) Unwrap() error { return e.Err }

// record is what is kept of a phase or, without tasks of its own, of a task.
type record struct {
	Name    string
	Started time.Duration // since the start of the kernel
	Took    time.Duration // 0 while it runs
	Err     string
	Tasks   []*record
}

// status is how the boot goes. The zero value is a boot that has not begun.
type status struct {
	mu     sync.Mutex
	stage  machinev1.Stage
	ready  time.Duration
	phases []*record
	disk   string
	clock  func() time.Duration
}

func (s *status) set(stage machinev1.Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stage
}

func (s *status) fail() { s.set(machinev1.Stage_STAGE_FAILED) }

// setReady marks the machine ready and returns after how long.
func (s *status) setReady() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage, s.ready = machinev1.Stage_STAGE_READY, s.clock()
	return s.ready
}

// is tells the stage.
func (s *status) is(stage machinev1.Stage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage == stage
}

func (s *status) setDisk(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk = path
}

func (s *status) begin(p phase) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &record{Name: p.name, Started: s.clock()}
	for _, t := range p.tasks {
		r.Tasks = append(r.Tasks, &record{Name: t.name, Started: r.Started})
	}
	s.phases = append(s.phases, r)
	return r
}

func (s *status) finish(r *record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Took = max(s.clock()-r.Started, 1)
	if err != nil {
		r.Err = err.Error()
	}
}

// run carries out a phase: all its tasks, whatever becomes of the others. The
// error is that of the first task in the list that failed.
func (s *status) run(ctx context.Context, p phase) (*record, error) {
	r := s.begin(p)
	errs := make([]error, len(p.tasks))
	var wg sync.WaitGroup
	for i, t := range p.tasks {
		wg.Add(1)
		rpc.Go(p.name+": "+t.name, func() {
			defer wg.Done()
			errs[i] = guarded(t.run)(ctx)
			s.finish(r.Tasks[i], errs[i])
		})
	}
	wg.Wait()
	var first error
	for i, err := range errs {
		if err != nil && first == nil {
			first = &phaseError{p.name, p.tasks[i].name, err}
		}
	}
	s.finish(r, first)
	return r, first
}

// summary tells a finished phase and its tasks in one line.
func (r *record) summary() string {
	tasks := make([]string, len(r.Tasks))
	for i, t := range r.Tasks {
		tasks[i] = fmt.Sprintf("%s %s", t.Name, seconds(t.Took))
	}
	return fmt.Sprintf("phase %s: %s s (%s)", r.Name, seconds(r.Took), strings.Join(tasks, ", "))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// handOver and takeOver carry the records of /init over to /sbin/init.
func (s *status) handOver() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(s.phases)
	if err != nil {
		return ""
	}
	return string(b)
}

func (s *status) takeOver(handed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var phases []*record
	if json.Unmarshal([]byte(handed), &phases) == nil {
		s.phases = phases
	}
}

// message returns the status in the words of the contract.
func (s *status) message() *machinev1.StatusResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &machinev1.StatusResponse{Stage: s.stage, Disk: s.disk}
	if s.ready > 0 {
		m.ReadyAfter = durationpb.New(s.ready)
	}
	for _, p := range s.phases {
		mp := &machinev1.Phase{Name: p.Name, Started: durationpb.New(p.Started), Took: took(p.Took), Error: p.Err}
		for _, t := range p.Tasks {
			mp.Tasks = append(mp.Tasks, &machinev1.Task{Name: t.Name, Started: durationpb.New(t.Started), Took: took(t.Took), Error: t.Err})
		}
		m.Phases = append(m.Phases, mp)
	}
	return m
}

func took(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
