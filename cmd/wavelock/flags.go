package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says in words what pflag and strconv say of a flag.
func flagError(c *cobra.Command, err error) error {
	see := "see " + c.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		name, dashes := unknown.GetSpecifiedName(), "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return failWith(exitUsage, didYouMean("--"+name, flagNames(c), see), "%s has no flag %s%s", c.CommandPath(), dashes, name)
	case errors.As(err, &invalid):
		why := "is not " + kindOfValue(invalid.GetFlag().Value.Type())
		if errors.Is(err, strconv.ErrRange) {
			why = "is out of range"
		}
		return failWith(exitUsage, see, "%s: --%s %q %s", c.CommandPath(), invalid.GetFlag().Name, invalid.GetValue(), why)
	case errors.As(err, &bare):
		return failWith(exitUsage, see, "%s: --%s needs a value", c.CommandPath(), bare.GetFlag().Name)
	}
	return failWith(exitUsage, see, "%s: %w", c.CommandPath(), err)
}

func flagNames(c *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, "--"+f.Name) }
	c.Flags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	return names
}

func kindOfValue(kind string) string {
	switch kind {
	case "int":
		return "a whole number"
	case "uint64":
		return "a whole number of 0 or more"
	case "duration":
		return "a duration such as 90s, 10m or 24h"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// oneOf refuses flags that exclude each other.
func oneOf(c *cobra.Command, names ...string) error {
	var given []string
	for _, n := range names {
		if c.Flags().Changed(n) {
			given = append(given, "--"+n)
		}
	}
	if len(given) < 2 {
		return nil
	}
	return failWith(exitUsage, "give one of them", "%s: %s exclude each other", c.CommandPath(), strings.Join(given, " and "))
}

// knownCommand refuses a word that is no command, and names the ones it may be meant for.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return failWith(exitUsage, didYouMean(args[0], names, "see "+c.CommandPath()+" --help"), "%s has no command %q", c.CommandPath(), args[0])
}

// atMost is one argument or none.
func atMost(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		return failWith(exitUsage, "it takes "+name+", or nothing", "%s does not know what to do with %q", c.CommandPath(), args[1])
	}
}

// atLeast is one argument or more.
func atLeast(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return failWith(exitUsage, "see "+c.CommandPath()+" --help", "%s needs %s", c.CommandPath(), name)
	}
}

// exactly says what is missing in words, where cobra counts arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		see := "see " + c.CommandPath() + " --help"
		switch {
		case len(args) == len(names):
			return nil
		case len(names) == 0:
			return failWith(exitUsage, see, "%s takes no argument, but got %q", c.CommandPath(), args[0])
		case len(args) < len(names):
			return failWith(exitUsage, see, "%s needs %s", c.CommandPath(), names[len(args)])
		}
		return failWith(exitUsage, see, "%s does not know what to do with %q", c.CommandPath(), args[len(names)])
	}
}
