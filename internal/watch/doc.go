// Package watch samples temperatures, fans, power and load while a host works, keeps them
// in a bounded history per boot, and compares two kernels' histories at equal load.
//
// One reading says nothing of how warm a machine runs: it depends on what it does, on how
// long it has been doing it and on the room. So a sample goes into the range of load that
// the CPUs had since the sample before, those of the first minutes of a boot are left
// out, and medians are compared range by range, less what the inlet rose by where there
// is a sensor of it. Where two histories have too few samples in common the answer is "not
// comparable yet".
//
// # A history
//
// Samples are appended to a log, a line each, and folded into histograms when the log has
// grown: one histogram a series and range of load, in whole degrees, hundreds of rpm
// and watts. Their size has a bound, whatever the time that passes.
//
// # Hints
//
// Uevents and kernel messages only say that something may have changed. They bring the
// next sample forward and make a line in the time line; nothing is concluded from them.
package watch
