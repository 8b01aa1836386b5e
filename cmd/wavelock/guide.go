package main

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed guide/*.md
var guideFiles embed.FS

// guideTopics are the pages of guide/, in reading order.
var guideTopics = []string{"rights", "rollout", "security", "clients", "troubleshooting", "configuration", "operations", "journal", "scripts", "architecture", "limits"}

// guidePage is a page as it is in the repository.
type guidePage struct {
	Topic string `json:"topic"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

func readGuide() ([]guidePage, error) {
	var all []guidePage
	for _, topic := range guideTopics {
		text, err := guideFiles.ReadFile("guide/" + topic + ".md")
		if err != nil {
			return nil, fmt.Errorf("read the guide: %w", err)
		}
		title, _, _ := strings.Cut(string(text), "\n")
		all = append(all, guidePage{topic, strings.TrimPrefix(title, "# "), string(text)})
	}
	return all, nil
}

func newGuide(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "guide [TOPIC]", GroupID: "help", Args: atMost("a topic"),
		Short:   "Print the guide: rights, roll-out, security, clients, scripts",
		Long:    "Print a page of the guide. Without a topic, list the pages.",
		Example: "  wavelock guide rights\n  wavelock guide rollout | less",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return only(args, guideTopics)
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.guide(args) },
	}
}

func (a *app) guide(args []string) error {
	all, err := readGuide()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		t := table{head: []string{"TOPIC", "ABOUT"}}
		for _, p := range all {
			t.add(p.Topic, p.Title)
		}
		return t.write(a.out, a.output, all)
	}
	i := slices.IndexFunc(all, func(p guidePage) bool { return p.Topic == strings.ToLower(args[0]) })
	if i < 0 {
		return failWith(exitUsage, didYouMean(args[0], guideTopics, "the topics are "+strings.Join(guideTopics, ", ")), "the guide has no page %q", args[0])
	}
	if a.output != "table" {
		t := table{head: []string{"TOPIC", "ABOUT", "TEXT"}}
		t.add(all[i].Topic, all[i].Title, all[i].Text)
		return t.write(a.out, a.output, all[i])
	}
	_, err = fmt.Fprint(a.out, all[i].Text)
	return err
}
