package cli

import (
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

// inputPrefix begins the variables that --from-env reads.
const inputPrefix = "QGJOB_INPUT_"

// takeInputs gives flags the values of QGJOB_INPUT_… variables: QGJOB_INPUT_APP_VERSION_ID is --app-version-id. The GitHub Action hands its
// inputs over in this way, so that no shell ever reads them. An empty variable is none, a list has one value a line, and a flag of the command
// line wins. A variable without a flag is a mistake: it would be an input that does nothing.
func (a *app) takeInputs(cmd *cobra.Command) error {
	names := qgjob.SortedKeys(a.env)
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, inputPrefix)
		if !ok {
			continue
		}
		flag := cmd.Flags().Lookup(strings.ReplaceAll(strings.ToLower(rest), "_", "-"))
		if flag == nil || slices.Contains([]string{"help", "from-env"}, flag.Name) {
			return &qgjob.Error{Kind: qgjob.KindInvalid, Message: name + " belongs to no flag of " + cmd.CommandPath(), Hint: "see " + cmd.CommandPath() + " --help"}
		}
		if flag.Changed {
			continue
		}
		if err := takeInput(cmd, flag.Name, strings.HasSuffix(flag.Value.Type(), "Array"), a.env[name]); err != nil {
			return err
		}
	}
	return nil
}

func takeInput(cmd *cobra.Command, flag string, list bool, text string) error {
	var values []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			values = append(values, line)
		}
	}
	if !list && len(values) > 1 {
		return usage(flag, "takes one value; %d lines were given", len(values))
	}
	for _, v := range values {
		if err := cmd.Flags().Set(flag, v); err != nil {
			return usage(flag, "%v", err)
		}
	}
	return nil
}
