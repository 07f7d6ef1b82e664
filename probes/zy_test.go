package probes

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"lastgood/loader"
)

func TestZY(t *testing.T) {
	id := os.Getenv("CASE")
	for _, f := range Families() {
		for _, c := range f.Cases {
			if f.Name+"/"+c.Name != id {
				continue
			}
			p, err := c.Build()
			if err != nil {
				t.Fatal(err)
			}
			made, err := loader.CreateMaps(p.Maps)
			if err != nil {
				t.Fatal(err)
			}
			for i := range p.Spec.Instructions {
				ins := &p.Spec.Instructions[i]
				if m := made[ins.Reference()]; m != nil {
					ins.AssociateMap(m)
				}
			}
			prog, err := ebpf.NewProgramWithOptions(p.Spec, ebpf.ProgramOptions{LogLevel: 2 | 4, LogSizeStart: 8 << 20})
			var ve *ebpf.VerifierError
			if errors.As(err, &ve) {
				fmt.Println(strings.Join(ve.Log, "\n"))
			} else if err != nil {
				fmt.Println(err)
			} else {
				fmt.Println(prog.VerifierLog)
			}
		}
	}
}
