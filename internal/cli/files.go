package cli

import (
	"os"
	"strings"
)

func userID() int { return os.Getuid() }

// isFile reports whether a word names a file rather than a boot: it is one, or
// is written as a path.
func isFile(name string) bool {
	if strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".json") {
		return true
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
