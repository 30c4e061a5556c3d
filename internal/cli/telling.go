package cli

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/hook"
	"github.com/qualgent/qgjob/internal/server"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// tellingOptions are the flags about who is told of runs.
type tellingOptions struct {
	publicURL, github string
	allow             []string
}

func (o *tellingOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.publicURL, "public-url", "", "address of this farm for people, such as https://qgjob.example.com; for links in what others are told")
	f.StringVar(&o.github, "github", "", "file that says how GitHub is told of runs (docs/telling.md)")
	f.StringArrayVar(&o.allow, "webhook-allow", nil, "network whose addresses may be told though they are not public, such as 10.0.0.0/8; may be repeated")
}

// githubFile is what --github names.
type githubFile struct {
	API          string                   `yaml:"api"`
	TokenFile    string                   `yaml:"token_file"`
	App          *githubApp               `yaml:"app"`
	Repositories map[qgjob.OrgID][]string `yaml:"repositories"`
}

type githubApp struct {
	ID           int64  `yaml:"id"`
	Installation int64  `yaml:"installation"`
	KeyFile      string `yaml:"key_file"`
}

// telling reads everything that the flags name.
func (o *tellingOptions) telling(a *app) (server.Telling, error) {
	out := server.Telling{PublicURL: strings.TrimRight(o.publicURL, "/")}
	if out.PublicURL != "" && !strings.HasPrefix(out.PublicURL, "https://") && !strings.HasPrefix(out.PublicURL, "http://") {
		return out, usage("public-url", "%q is not an address such as https://qgjob.example.com", o.publicURL)
	}
	var allow []netip.Prefix
	for _, text := range o.allow {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return out, usage("webhook-allow", "%q is not a network such as 10.0.0.0/8", text)
		}
		allow = append(allow, p)
	}
	agent := "qgjob/" + Version
	out.Webhooks = hook.NewSender(allow, agent)
	if o.github == "" {
		return out, nil
	}
	file, err := readGitHub(a.path(o.github))
	if err != nil {
		return out, err
	}
	options := hook.GitHubOptions{API: file.API, Allow: allow, Agent: agent}
	if err := file.credentials(filepath.Dir(a.path(o.github)), &options); err != nil {
		return out, err
	}
	out.Repos = file.Repositories
	out.GitHub, err = hook.NewGitHub(options)
	return out, err
}

func readGitHub(path string) (*githubFile, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, usage("github", "%v", err)
	}
	file := &githubFile{API: "https://api.github.com"}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(file); err != nil {
		return nil, usage("github", "%s: %v", path, err)
	}
	if len(file.Repositories) == 0 {
		return nil, usage("github", "%s: repositories is empty; name for each org the repositories that it may speak for, such as acme: [acme/shop]", path)
	}
	for org := range file.Repositories {
		if err := qgjob.CheckName("repositories", string(org)); err != nil {
			return nil, err
		}
	}
	if (file.TokenFile == "") == (file.App == nil) {
		return nil, usage("github", "%s: give either token_file or app", path)
	}
	return file, nil
}

// credentials reads the token, or the app's key. Paths begin at the file.
func (f *githubFile) credentials(dir string, o *hook.GitHubOptions) error {
	at := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	if f.App == nil {
		text, err := readSmall(at(f.TokenFile))
		if err != nil {
			return usage("github", "token_file: %v", err)
		}
		if o.Token = strings.TrimSpace(string(text)); o.Token == "" || strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return usage("github", "token_file: %s must hold one token", f.TokenFile)
		}
		return nil
	}
	if f.App.ID <= 0 || f.App.Installation <= 0 || f.App.KeyFile == "" {
		return usage("github", "app: id, installation and key_file are needed")
	}
	text, err := os.ReadFile(at(f.App.KeyFile))
	if err != nil {
		return usage("github", "app: %v", err)
	}
	key, err := hook.ParseAppKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.App.KeyFile, err)
	}
	o.App = &hook.App{ID: f.App.ID, Installation: f.App.Installation, Key: key}
	return nil
}
