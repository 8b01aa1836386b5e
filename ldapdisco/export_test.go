package ldapdisco

import "slices"

// ComputerAttributes are those that a listing asks for.
func ComputerAttributes() []string { return slices.Clone(computerAttributes) }
