package probes

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/cilium/ebpf/btf"

	"lastgood/internal/netlab"
	"lastgood/internal/snapshot"
)

// rig is what the cases of one run share: making and ending a namespace takes longer
// than any of them.
type rig struct {
	mu           sync.Mutex
	left, inRoom int            // cases that are still to come, and those of them in the cgroup
	made         int            // pairs of interfaces
	ending       sync.WaitGroup // descriptors that are being closed
	types        *btf.Cache

	net  func() (*netlab.Lab, error)
	veth func() (pairs, error) // in the lab's Do
	room func() (*room, error) // in the lab's Do
	lab  *netlab.Lab           // once it was made
	in   *room                 // once it was made
}

// pairs are the interfaces of the lab: frames that come to near.B may be redirected
// out of far.A, and are seen at far.B then.
type pairs struct{ near, far netlab.Pair }

// room is the private cgroup with the helper in it.
type room struct {
	cgroup *netlab.Cgroup
	helper *netlab.Helper
}

func newRig(cases []attachCase) *rig {
	r := &rig{left: len(cases), types: btf.NewCache()}
	for i := range cases {
		if cases[i].In == inCgroup {
			r.inRoom++
		}
	}
	r.net = sync.OnceValues(r.openNet)
	r.veth = sync.OnceValues(r.openVeth)
	r.room = sync.OnceValues(r.openRoom)
	return r
}

func (r *rig) openNet() (*netlab.Lab, error) {
	lab, err := netlab.Open()
	if err != nil {
		return nil, placeError(err)
	}
	r.lab = lab
	return lab, nil
}

// openVeth makes two new pairs.
func (r *rig) openVeth() (p pairs, err error) {
	for _, pair := range []*netlab.Pair{&p.near, &p.far} {
		a, b := fmt.Sprintf("lg%da", r.made), fmt.Sprintf("lg%db", r.made)
		if *pair, err = netlab.Veth(a, b, byte(2*r.made)); err != nil {
			return p, placeError(err)
		}
		r.made++
	}
	return p, nil
}

func (r *rig) openRoom() (*room, error) {
	c, err := netlab.OpenCgroup()
	if errors.Is(err, netlab.ErrNoCgroup2) {
		return nil, &lackError{err.Error()}
	}
	if err != nil {
		return nil, placeError(err)
	}
	h, err := netlab.StartHelper(c)
	if err != nil {
		return nil, errors.Join(placeError(err), c.Remove())
	}
	r.in = &room{c, h}
	return r.in, nil
}

// placeError classes the failure to make a place, with the words of who tried.
func placeError(err error) error {
	var lack *lackError
	if errors.As(kernelSays("", err), &lack) {
		return &lackError{err.Error()}
	}
	return &unclearError{err.Error()}
}

// try runs one case and gives its subject.
func (r *rig) try(ctx context.Context, c *attachCase) snapshot.Subject {
	r.mu.Lock() // the lab's interfaces are for one case at a time
	defer r.mu.Unlock()
	defer r.done(c)
	s := snapshot.Subject{Kind: attachDeclaration.Name, ID: c.ID, Outcome: snapshot.Measured}
	t := &trial{ctx: ctx, rig: r, s: &s}
	run := func() {
		defer func(start time.Time) {
			t.close()
			s.Set("seconds", snapshot.Float(time.Since(start).Seconds()))
		}(time.Now())
		if c.In == inCgroup {
			if _, err := r.room(); err != nil {
				t.finish(err)
				return
			}
		}
		t.finish(c.Run(t))
	}
	if c.In == onThread {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		run()
		return s
	}
	lab, err := r.net()
	if err != nil {
		t.finish(err)
		return s
	}
	lab.Do(run)
	return s
}

// done takes down what no case needs any more.
func (r *rig) done(c *attachCase) {
	r.left--
	if c.In == inCgroup {
		r.inRoom--
	}
	if r.inRoom == 0 && r.in != nil {
		r.in.close()
		r.in = nil
	}
	if r.left == 0 {
		r.ending.Wait()
		r.types = nil // some megabytes, which nobody needs any more
	}
	if r.left == 0 && r.lab != nil {
		r.lab.Close()
		r.lab = nil
	}
}

// close ends the helper, which takes the folder along; what it could not remove is
// removed here, and by the next run at last.
func (r *room) close() {
	_ = r.helper.Close()
	_ = r.cgroup.Remove()
}
