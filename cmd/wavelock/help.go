package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// In the help, commands stand in the order in which they are used.
func init() { cobra.EnableCommandSorting = false }

// usageTemplate is what follows the words of a command's help. Flags that every command has are listed by the root's
// alone: elsewhere they would be most of the text.
const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableSubCommands}}{{$all := .Commands}}
{{- if .Groups}}{{range $group := .Groups}}

{{.Title}}{{range $all}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name 11}} {{.Short}}{{end}}{{end}}{{end}}
{{- else}}

Commands:{{range $all}}{{if .IsAvailableCommand}}
  {{rpad .Name 11}} {{.Short}}{{end}}{{end}}
{{- end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}
{{- end}}
{{if .HasParent}}
Every command knows --config, -o, -q, -v and --no-color, too: wavelock --help
{{- else}}
wavelock COMMAND --help says more. wavelock guide scripts lists the exit codes.
{{- end}}
`

// newHelp is cobra's command, which ends with 0 where there is nothing to help with.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", GroupID: "help",
		Short:   "Print the help of a command, like --help",
		Example: "  wavelock help run\n  wavelock help journal verify",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			of, _, err := c.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range of.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return knownCommand(c.Root(), args)
			}
			return of.Help()
		},
	}
}

// newCompletion is one command with the four shells' scripts, in place of cobra's four.
func newCompletion(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", GroupID: "help", Args: exactly("a shell: " + strings.Join(shells, ", ")),
		Short: "Print the completion script for bash, zsh, fish or powershell",
		Long: `Print a script that has the shell complete commands, flags and their values, and
the campaigns and hosts of the local database. A new shell completes once it is
in:

  bash        /etc/bash_completion.d/wavelock (package bash-completion)
  zsh         a folder of $fpath, as _wavelock; compinit has to be loaded
  fish        ~/.config/fish/completions/wavelock.fish
  powershell  $PROFILE, as the third example has it`,
		Example: `  wavelock completion bash > /etc/bash_completion.d/wavelock
  wavelock completion zsh > "${fpath[1]}/_wavelock"
  wavelock completion powershell | Out-String | Invoke-Expression`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return only(args, shells)
		},
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(a.out, true)
			case "zsh":
				err = root.GenZshCompletion(a.out)
			case "fish":
				err = root.GenFishCompletion(a.out, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(a.out)
			default:
				return failWith(exitUsage, "there is one for "+strings.Join(shells, ", "), "there is no completion script for %q", args[0])
			}
			if err != nil {
				return fmt.Errorf("print the completion script: %w", err)
			}
			return nil
		},
	}
}
