package report

import (
	"strings"

	"github.com/qualgent/qgjob"
)

// Output is one value that a step hands to the steps after it.
type Output struct{ Name, Value string }

// FormatOutputs writes outputs for $GITHUB_OUTPUT. Each value stands between two lines of a delimiter that the caller draws at random for this
// call, of at least 16 letters and digits; a value that holds the delimiter is refused, so that no value can set another output. A name is made
// of lower-case letters and dashes.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings
func FormatOutputs(delimiter string, outputs []Output) (string, error) {
	if len(delimiter) < 16 || strings.Trim(delimiter, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return "", qgjob.Invalid("delimiter", "the delimiter of outputs must be 16 or more letters and digits")
	}
	var b strings.Builder
	for _, o := range outputs {
		if o.Name == "" || strings.Trim(o.Name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			return "", qgjob.Invalid("name", "an output's name must be lower-case letters and dashes")
		}
		if strings.Contains(o.Value, delimiter) {
			return "", qgjob.Invalid("value", "the output "+o.Name+" holds the delimiter")
		}
		b.WriteString(o.Name + "<<" + delimiter + "\n" + o.Value + "\n" + delimiter + "\n")
	}
	return b.String(), nil
}
