package cli

import (
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

// setting is a flag that also has a place in the environment or in
// .qgjob.yaml.
type setting struct {
	flag string
	env  string   // "" for none
	key  string   // in .qgjob.yaml; "" for none
	only []string // the commands whose flag it is; nil is every command that has the flag
}

var submits = []string{"submit"}

var settings = []setting{
	{flag: "server", env: "QGJOB_SERVER", key: "server"},
	{flag: "retry-for", env: "QGJOB_RETRY_FOR"},
	{flag: "org-id", env: "QGJOB_ORG", key: "org_id"},
	{flag: "app-version-id", env: "QGJOB_APP_VERSION", only: []string{"submit", "upload"}},
	{flag: "target", env: "QGJOB_TARGET", key: "target", only: submits},
	{flag: "priority", key: "priority", only: submits},
	{flag: "retries", key: "retries", only: submits},
	{flag: "timeout", key: "timeout", only: submits},
	{flag: "bundle", key: "bundle", only: submits},
	{flag: "test", key: "tests", only: submits},
	{flag: "requires", key: "requires", only: submits},
	{flag: "label", key: "labels", only: submits},
	{flag: "fail-on-flaky", key: "fail_on_flaky", only: submits},
}

// settle gives every flag that the command line leaves open its value from the
// environment, else from the file.
func (a *app) settle(cmd *cobra.Command) error {
	file, err := findConfig(a.dir)
	if err != nil {
		return err
	}
	a.file = file
	if on := cmd.Flags().Lookup("from-env"); on != nil && on.Value.String() == "true" {
		if err := a.takeInputs(cmd); err != nil {
			return err
		}
	}
	for _, s := range settings {
		if s.only != nil && !strings.Contains(" "+strings.Join(s.only, " ")+" ", " "+cmd.Name()+" ") {
			continue
		}
		flag := cmd.Flags().Lookup(s.flag)
		if flag == nil || flag.Changed {
			continue
		}
		if v := a.env[s.env]; s.env != "" && v != "" {
			a.orgFound = a.orgFound || s.flag == "org-id"
			if err := cmd.Flags().Set(s.flag, v); err != nil {
				return &qgjob.Error{Kind: qgjob.KindInvalid, Message: fmt.Sprintf("%s (for --%s) cannot be read: %v", s.env, s.flag, err)}
			}
			continue
		}
		for _, v := range file.values[s.key] {
			if s.key == "tests" && cmd.Flags().NArg() > 0 {
				break
			}
			if err := cmd.Flags().Set(s.flag, v.text); err != nil {
				return file.wrong(v.line, s.key, err.Error())
			}
			a.serverByFile = a.serverByFile || s.key == "server"
			a.orgFound = a.orgFound || s.key == "org_id"
		}
	}
	a.serverGiven = cmd.Flags().Changed("server") && !a.serverByFile
	return nil
}

// pairs reads "k=v" and "k=v,k=v" texts of a flag into a map.
func pairs(flag string, texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, text := range texts {
		for kv := range strings.SplitSeq(text, ",") {
			k, v, ok := strings.Cut(kv, "=")
			if !ok || k == "" || v == "" {
				return nil, usage(flag, "%q is not of the form key=value", kv)
			}
			if old, twice := m[k]; twice && old != v {
				return nil, usage(flag, "%s is given twice, as %q and %q", k, old, v)
			}
			m[k] = v
		}
	}
	return m, nil
}

// usage is an error about a flag.
func usage(flag, format string, a ...any) error {
	return &qgjob.Error{Kind: qgjob.KindInvalid, Message: "--" + flag + ": " + fmt.Sprintf(format, a...)}
}
