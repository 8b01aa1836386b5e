package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", GroupID: "help", Args: exactly("the folder for the pages"),
		Short:             "Write the manual pages of all commands",
		Long:              "Write one manual page a command, as man(1) reads them, into a folder.",
		Example:           "  wavelock man /usr/local/share/man/man1",
		ValidArgsFunction: completion(completeFolders).first,
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failWith(exitError, "name a folder that is there, or one that this user may make", "make the folder for the pages: %w", err)
			}
			c.Root().DisableAutoGenTag = true
			c.Root().Long += "\n\n# EXIT STATUS\n\n" + exitTable() // the pages are made of Markdown
			when := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)    // the same pages from the same program
			if err := doc.GenManTree(c.Root(), &doc.GenManHeader{Title: "WAVELOCK", Section: "1", Source: "wavelock " + versionString(), Date: &when}, args[0]); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			a.progress("the manual pages are in %s", args[0])
			return nil
		},
	}
}
