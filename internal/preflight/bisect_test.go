package preflight

import (
	"errors"
	"math/bits"
	"slices"
	"testing"
)

// TestBisectEveryTurn asks for the turn at every place of ranges of every size, and
// that no more kernels are booted than halving needs.
func TestBisectEveryTurn(t *testing.T) {
	for n := 2; n <= 65; n++ {
		for turn := 1; turn < n; turn++ {
			b, err := Bisect(n, func(i int) (Answer, error) {
				if i >= turn {
					return IsBad, nil
				}
				return IsGood, nil
			})
			if err != nil || b.LastGood != turn-1 || b.FirstBad != turn || len(b.Untold) > 0 {
				t.Fatalf("%d kernels, bad from %d on: %+v, %v", n, turn, b, err)
			}
			if most := bits.Len(uint(n - 2)); b.Tested > most {
				t.Errorf("%d kernels: %d were booted, where %d are enough", n, b.Tested, most)
			}
		}
	}
}

func TestBisectTenKernelsInFourBoots(t *testing.T) {
	for turn := 1; turn < 10; turn++ {
		b, err := Bisect(10, func(i int) (Answer, error) {
			if i >= turn {
				return IsBad, nil
			}
			return IsGood, nil
		})
		if err != nil || b.Tested > 4 {
			t.Errorf("bad from %d on: %d boots, %v", turn, b.Tested, err)
		}
	}
}

// TestBisectPassesOver: a kernel that does not boot is neither good nor bad, and the
// answer says that it may be the first bad one.
func TestBisectPassesOver(t *testing.T) {
	dead := []int{4, 5}
	b, err := Bisect(10, func(i int) (Answer, error) {
		switch {
		case slices.Contains(dead, i):
			return CannotTell, nil
		case i >= 6:
			return IsBad, nil
		}
		return IsGood, nil
	})
	if err != nil || b.LastGood != 3 || b.FirstBad != 6 || !slices.Equal(b.Untold, dead) {
		t.Errorf("%+v, %v", b, err)
	}
	b, err = Bisect(5, func(int) (Answer, error) { return CannotTell, nil })
	if err != nil || b.LastGood != 0 || b.FirstBad != 4 || len(b.Untold) != 3 || b.Tested != 3 {
		t.Errorf("none tells: %+v, %v", b, err)
	}
}

func TestBisectEndsOnError(t *testing.T) {
	stop := errors.New("stop")
	if _, err := Bisect(10, func(int) (Answer, error) { return CannotTell, stop }); !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
}
