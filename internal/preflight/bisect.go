package preflight

// Answer is what a kernel says to the question of a bisection.
type Answer int

const (
	CannotTell Answer = iota // it could not be tested
	IsGood
	IsBad
)

// Bisected is what a bisection found.
type Bisected struct {
	LastGood, FirstBad int
	// Untold are kernels between the two that could not be tested: the first bad one
	// is FirstBad or one of them.
	Untold []int
	Tested int
}

// Bisect finds where good turns into bad among n kernels in order, of which the
// first is good and the last is bad. It asks for as few as it can, the middle one
// first; one that cannot tell is passed over for its nearest neighbour. An error of
// test ends it.
func Bisect(n int, test func(i int) (Answer, error)) (Bisected, error) {
	b := Bisected{LastGood: 0, FirstBad: n - 1}
	untold := map[int]bool{}
	for {
		i, ok := middle(b.LastGood, b.FirstBad, untold)
		if !ok {
			break
		}
		answer, err := test(i)
		if err != nil {
			return b, err
		}
		b.Tested++
		switch answer {
		case IsGood:
			b.LastGood = i
		case IsBad:
			b.FirstBad = i
		default:
			untold[i] = true
		}
	}
	for i := b.LastGood + 1; i < b.FirstBad; i++ {
		b.Untold = append(b.Untold, i)
	}
	return b, nil
}

// middle is the place between the two that is nearest to their middle and may still tell.
func middle(good, bad int, untold map[int]bool) (int, bool) {
	mid := good + (bad-good)/2
	for d := 0; mid-d > good || mid+d < bad; d++ {
		for _, i := range []int{mid - d, mid + d} {
			if i > good && i < bad && !untold[i] {
				return i, true
			}
		}
	}
	return 0, false
}
