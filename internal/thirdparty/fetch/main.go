// Command fetch puts the objects of other projects into a folder, for benchmarks.
package main

import (
	"context"
	"fmt"
	"os"

	"lastgood/internal/thirdparty"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fetch DIR")
		os.Exit(2)
	}
	paths, err := thirdparty.Fetch(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(len(paths))
}
