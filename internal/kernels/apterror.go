package kernels

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// What apt and dnf say, in English, where a signature or a checksum does not
// verify and where an archive is not reached. The order counts: a repository that
// has no release file is also called unsigned, and is only not there.
var (
	absentWords = []string{
		"404  Not Found", "does not have a Release file", "Status code: 404",
	}
	signatureWords = []string{
		"NO_PUBKEY", "BADSIG", "EXPKEYSIG", "KEYEXPIRED", "REVKEYSIG", "is not signed", "couldn't be verified", "signature verification",
		"Clearsigned file isn't valid", "Hash Sum mismatch", "cannot be authenticated", "GPG error", "GPG check FAILED",
		"checksum doesn't match", "Checksum error", "not correctly signed",
	}
	unreachableWords = []string{
		"Could not resolve", "Temporary failure resolving", "Something wicked happened resolving", "Could not connect", "Unable to connect",
		"Connection failed", "Connection refused", "Connection timed out", "Cannot initiate the connection", "Could not handshake",
		"Failed to fetch", "Some index files failed to download", "timed out", "Network is unreachable",
		"Couldn't resolve host", "Curl error", "Cannot download", "Failed to download",
	}
	expiredWords = []string{"is expired", "is not valid yet"}
)

// aptError says what went wrong in the words of a package client's own output, as
// an error that callers can tell apart, with a hint where there is a way out.
func aptError(op, output string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoTool) {
		return fmt.Errorf("%s: %w", op, err)
	}
	for _, c := range []struct {
		words []string
		kind  error
		hint  string
	}{
		{absentWords, ErrUnreachable, "the suite or package is gone from this mirror: archived suites move to archive.debian.org"},
		{expiredWords, ErrSignature, "the index is out of date or this host's clock is wrong"},
		{signatureWords, ErrSignature, "install the archive's keyring (debian-archive-keyring), or wait for the mirror to finish its update"},
		{unreachableWords, ErrUnreachable, "check the mirror, the network and the proxy"},
	} {
		if line := lineWith(output, c.words); line != "" {
			return &HintError{fmt.Errorf("%s: %s: %w", op, line, c.kind), c.hint}
		}
	}
	if strings.Contains(output, "was not found") || strings.Contains(output, "Unable to locate package") {
		return &HintError{fmt.Errorf("%s: %s", op, lastLine(output)), "the archive has moved on: update the package indexes and list them again"}
	}
	if err == nil {
		return fmt.Errorf("%s: %s", op, lastLine(output))
	}
	return fmt.Errorf("%s: %w", op, err)
}

// lineWith is the first line that has any of words, without apt's mark.
func lineWith(text string, words []string) string {
	for _, line := range strings.Split(text, "\n") {
		for _, w := range words {
			if strings.Contains(line, w) {
				line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "E: "), "W: ")
				return line[:min(len(line), 300)]
			}
		}
	}
	return ""
}
