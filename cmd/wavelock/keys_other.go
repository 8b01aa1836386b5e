//go:build !linux

package main

import (
	"errors"
	"os"
	"time"
)

// Elsewhere the commands pause, resume and abort say the same from another window.
var errNoKeys = errors.New("single keys are not read on this system")

func singleKeys(*os.File) (back func(), err error) { return nil, errNoKeys }

func awaitKey(*os.File, time.Duration) (bool, error) { return false, errNoKeys }
