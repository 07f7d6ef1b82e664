// Lastgood answers one question: did this box come back the same way it went down?
//
// It measures what the running kernel does to BPF programs, takes stock of the
// hardware, and compares both with the last boot that was known to be good.
// See `lastgood --help`.
package main

import (
	"os"

	"lastgood/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.OS()))
}
