package cli

import (
	"lastgood/internal/candidate"
	"lastgood/internal/preflight"
)

// preflightCodes are the codes of findings that no kind's rule makes.
func preflightCodes() []string {
	var codes []string
	for _, c := range preflight.HostChecks() {
		codes = append(codes, c.Code)
	}
	for _, c := range candidate.Checks() {
		codes = append(codes, c.Code)
	}
	return codes
}
