package loader

import (
	"slices"
	"strings"
)

// statisticPrefixes open the lines of all four generations.
var statisticPrefixes = []string{"processed ", "stack depth ", "verification time ", "insns processed ", "subprog "}

// statisticWords occur in statistics and in no known message.
var statisticWords = []string{"insns ", "insns_", "_states", "states ", "stack depth", " usec", "mark_read", "verification "}

// newStatistic tells whether line is worded like a statistic and is no known
// message. Instruction listings start with a digit or a semicolon, register dumps
// and most messages with a capital.
func newStatistic(line string) bool {
	if line == "" || line[0] < 'a' || line[0] > 'z' {
		return false
	}
	line = line[:min(len(line), maxLine)]
	return slices.ContainsFunc(statisticWords, func(w string) bool { return strings.Contains(line, w) }) &&
		looksNumeric(line) && reasonOf(line) == ""
}

// afterStatistics judges a line behind the first statistic. The block of
// statistics ends the log, so what stands there is one more statistic, or the
// message of an error found after verification.
func afterStatistics(line string) bool {
	line = line[:min(len(line), maxLine)]
	return looksNumeric(line) && reasonOf(line) == ""
}

func hasPrefix(line string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

// looksNumeric tells whether a word of line is a bare number or a sum of numbers,
// as the values of statistics are.
func looksNumeric(line string) bool {
	for word := range strings.FieldsSeq(line) {
		if strings.Trim(word, "0123456789+") == "" && word != "+" {
			return true
		}
	}
	return false
}

// cause finds the line that explains a rejection: from the end of the log
// backwards the first one the table of reject texts knows, else the last line
// that is neither statistic nor state dump. Lines taken for unknown statistics
// are passed over.
func cause(log string, unknown []string) (string, Reason) {
	fallback := ""
	for range causeLines {
		if log == "" {
			break
		}
		body := strings.TrimSuffix(log, "\n")
		start := strings.LastIndexByte(body, '\n') + 1
		line := body[start:]
		log = log[:start]
		if noise(line) {
			continue
		}
		line = strings.TrimSpace(line[:min(len(line), maxLine)])
		if r := reasonOf(line); r != "" {
			return strings.Clone(line), r
		}
		if fallback == "" && !slices.Contains(unknown, line) {
			fallback = strings.Clone(line)
		}
	}
	return fallback, ""
}

// noise tells whether line cannot be a cause: empty, a statistic, source text, a
// listed instruction or part of a state dump.
func noise(line string) bool {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == ';' || hasPrefix(line, statisticPrefixes) || newStatistic(line) {
		return true
	}
	digits := strings.TrimLeft(line, "0123456789")
	if len(digits) < len(line) && strings.HasPrefix(digits, ": ") {
		return true // an instruction, or the state before it
	}
	return hasPrefix(line, dumpPrefixes) || looksLikeState(line) || ofFrame(line)
}

// dumpPrefixes open lines that only set the scene.
var dumpPrefixes = []string{"cur state:", "old state:", "from ", "mark_precise: ", "last_idx ", "regs=", "parent didn't have", "func#", "caller:", "callee:", "returning from callee", "to caller at", "Func#", "Validating "}

// looksLikeState recognizes the register dump `R0=… R1_w=… fp-8=…`.
func looksLikeState(line string) bool {
	word, _, _ := strings.Cut(line, " ")
	name, _, ok := strings.Cut(word, "=")
	name, _, _ = strings.Cut(name, "_")
	return ok && len(name) >= 2 && name[0] == 'R' && strings.Trim(name[1:], "0123456789") == ""
}

// ofFrame recognizes the state of a called function, "frame1: R0=…", which is not
// "frame pointer is read only".
func ofFrame(line string) bool {
	number, ok := strings.CutPrefix(line, "frame")
	return ok && number != "" && number[0] >= '0' && number[0] <= '9'
}

// logTail returns the last whole lines of log, at most 4 KiB.
func logTail(log string) string {
	if len(log) <= tailBytes {
		return log
	}
	log = log[len(log)-tailBytes:]
	if _, after, ok := strings.Cut(log, "\n"); ok && after != "" {
		log = after
	}
	return strings.Clone(log)
}
