package snapshot

import (
	"strings"
	"testing"
)

func TestOtherMachine(t *testing.T) {
	const u1, u2 = "4c4c4544-0042-3510-8051-b4c04f4a4d32", "4c4c4544-0042-3510-8051-b4c04f4a4d33"
	for name, test := range map[string]struct {
		a, b Identity
		want string // of the reason, "" where it is the same machine
	}{
		"nothing known":              {Identity{}, Identity{}, ""},
		"one side knows":             {Identity{ProductUUID: u1, MachineID: "m"}, Identity{}, ""},
		"machine-id":                 {Identity{MachineID: "m1"}, Identity{MachineID: "m2"}, "machine-id m1, this is m2"},
		"cloned":                     {Identity{ProductUUID: u1, MachineID: "m"}, Identity{ProductUUID: u2, MachineID: "m"}, "cloned?"},
		"UUID in capitals":           {Identity{ProductUUID: strings.ToUpper(u1)}, Identity{ProductUUID: u1}, ""},
		"UUID in the other order":    {Identity{ProductUUID: u1}, Identity{ProductUUID: "44454c4c-4200-1035-8051-b4c04f4a4d32"}, ""},
		"zeros":                      {Identity{ProductUUID: "00000000-0000-0000-0000-000000000000"}, Identity{ProductUUID: u1}, ""},
		"ones":                       {Identity{ProductUUID: u1}, Identity{ProductUUID: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, ""},
		"a default":                  {Identity{ProductUUID: "03000200-0400-0500-0006-000700080009"}, Identity{ProductUUID: u1}, ""},
		"no UUID at all":             {Identity{ProductUUID: "Not Settable"}, Identity{ProductUUID: u1}, ""},
		"junk, but another id":       {Identity{ProductUUID: "03000200-0400-0500-0006-000700080009", MachineID: "m1"}, Identity{ProductUUID: u1, MachineID: "m2"}, "machine-id"},
		"moved to another host":      {Identity{ProductUUID: u1, MachineID: "m", CPU: CPUIdentity{Model: "x"}}, Identity{ProductUUID: u1, MachineID: "m", CPU: CPUIdentity{Model: "y"}}, ""},
		"board replaced":             {Identity{ProductUUID: u1, BoardSerial: ".ABC123."}, Identity{ProductUUID: u1, BoardSerial: ".XYZ789."}, ""},
		"board serial, no UUID":      {Identity{BoardSerial: ".ABC123.", MachineID: "m"}, Identity{BoardSerial: ".XYZ789.", MachineID: "m"}, "board serial"},
		"default serials":            {Identity{BoardSerial: "To be filled by O.E.M."}, Identity{BoardSerial: "Default string"}, ""},
		"a serial of dots":           {Identity{BoardSerial: "......"}, Identity{BoardSerial: "ABC123"}, ""},
		"the same box, reinstalled":  {Identity{ProductUUID: u1, MachineID: "m1"}, Identity{ProductUUID: u1, MachineID: "m2"}, "machine-id"},
		"hostile: fields without id": {Identity{ProductUUID: "--------------------------------0000"}, Identity{ProductUUID: u1}, ""},
	} {
		for _, got := range []string{test.a.OtherMachine(&test.b), test.b.OtherMachine(&test.a)} {
			word := test.want
			if strings.Contains(word, "this is") {
				word = "machine-id m"
			}
			if (got == "") != (word == "") || !strings.Contains(got, word) {
				t.Errorf("%s: %q, want %q", name, got, word)
			}
		}
	}
}
