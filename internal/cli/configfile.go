package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"go.yaml.in/yaml/v3"
)

const (
	configName    = ".qgjob.yaml"
	maxConfigFile = 64 << 10 // bytes
)

// configFile is a repository's .qgjob.yaml. The zero value is that of no file.
type configFile struct {
	path   string
	values map[string][]configValue // by key; lists and maps have several
}

type configValue struct {
	text string // as the flag takes it
	line int
}

// shapes says which keys there are and what they hold.
var shapes = map[string]yaml.Kind{
	"server": yaml.ScalarNode, // or a list, see listed
	"org_id": yaml.ScalarNode, "target": yaml.ScalarNode, "priority": yaml.ScalarNode,
	"retries": yaml.ScalarNode, "timeout": yaml.ScalarNode, "bundle": yaml.ScalarNode, "fail_on_flaky": yaml.ScalarNode,
	"tests": yaml.SequenceNode, "requires": yaml.MappingNode, "labels": yaml.MappingNode,
}

// findConfig reads .qgjob.yaml of dir or the nearest folder above it, up to
// the root of the git repository; outside of one only dir is looked at.
func findConfig(dir string) (*configFile, error) {
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, configName)
		text, err := readSmall(path)
		if err == nil {
			return parseConfig(path, text)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, &qgjob.Error{Kind: qgjob.KindInvalid, Message: "cannot read " + path, Err: err}
		}
		if isGitRoot(at) || filepath.Dir(at) == at || !insideGit(at) {
			return &configFile{}, nil
		}
	}
}

func isGitRoot(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, ".git"))
	return err == nil
}

func insideGit(dir string) bool {
	for at := dir; ; at = filepath.Dir(at) {
		if isGitRoot(at) {
			return true
		}
		if filepath.Dir(at) == at {
			return false
		}
	}
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	if info.Size() > maxConfigFile {
		return nil, fmt.Errorf("it is %d bytes long; allowed: %d", info.Size(), maxConfigFile)
	}
	return os.ReadFile(path)
}

// parseConfig reads the file strictly: an unknown or repeated key, or a value
// of the wrong shape, is a usage error with file, line and key.
func parseConfig(path string, text []byte) (*configFile, error) {
	c := &configFile{path: path, values: map[string][]configValue{}}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &qgjob.Error{Kind: qgjob.KindInvalid, Message: path + ": " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(doc.Content) == 0 {
		return c, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, c.wrong(top.Line, "", "the file must hold key: value lines")
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		if err := c.take(top.Content[i], top.Content[i+1]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *configFile) take(key, value *yaml.Node) error {
	shape, known := shapes[key.Value]
	switch {
	case key.Value == "token":
		return c.wrong(key.Line, key.Value, "a token does not belong in a repository; set QGJOB_TOKEN instead")
	case !known:
		return c.wrong(key.Line, key.Value, "unknown key; allowed: "+strings.Join(qgjob.SortedKeys(shapes), ", "))
	case c.values[key.Value] != nil:
		return c.wrong(key.Line, key.Value, "the key is given twice")
	case listed(key.Value) && value.Kind == yaml.SequenceNode && len(value.Content) > 0:
		shape = yaml.SequenceNode
	case value.Kind != shape || value.Tag == "!!null":
		return c.wrong(value.Line, key.Value, "must be "+shapeName(shape))
	case key.Value == "bundle" && !filepath.IsLocal(filepath.FromSlash(value.Value)):
		return c.wrong(value.Line, key.Value, "must be a folder beneath the one of this file")
	}
	got := []configValue{}
	switch shape {
	case yaml.ScalarNode:
		got = append(got, configValue{c.local(key.Value, value.Value), value.Line})
	case yaml.SequenceNode:
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return c.wrong(item.Line, key.Value, "must be a list of texts")
			}
			got = append(got, configValue{item.Value, item.Line})
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(value.Content); i += 2 {
			k, v := value.Content[i], value.Content[i+1]
			if v.Kind != yaml.ScalarNode || strings.ContainsAny(k.Value+v.Value, ",") {
				return c.wrong(k.Line, key.Value, "must hold key: value lines without commas")
			}
			pair := configValue{k.Value + "=" + v.Value, k.Line}
			if slices.ContainsFunc(got, func(o configValue) bool { return strings.HasPrefix(o.text, k.Value+"=") }) {
				return c.wrong(k.Line, key.Value, fmt.Sprintf("%q is given twice", k.Value))
			}
			got = append(got, pair)
		}
	}
	c.values[key.Value] = got
	return nil
}

// listed are the keys that hold one value or a list of them.
func listed(key string) bool { return key == "server" }

// local makes a path of the file relative to the file's own folder.
func (c *configFile) local(key, value string) string {
	if key == "bundle" {
		return filepath.Join(filepath.Dir(c.path), value)
	}
	return value
}

func (c *configFile) wrong(line int, key, why string) error {
	at := fmt.Sprintf("%s:%d: ", c.path, line)
	if key != "" {
		at += key + ": "
	}
	return &qgjob.Error{Kind: qgjob.KindInvalid, Message: at + why}
}

func shapeName(k yaml.Kind) string {
	switch k {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "key: value lines"
	}
	return "one value"
}
