package cli

import "testing"

type expression struct{ dashboard, panel, text string }

func (e expression) filled() string { return e.text }

func dashboardExpressions(t *testing.T) []expression { return []expression{{"a", "b", "up"}} }
