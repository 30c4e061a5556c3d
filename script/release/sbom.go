package main

import (
	"debug/buildinfo"
	"encoding/json"
	"runtime/debug"
	"strings"
)

// The parts of a CycloneDX 1.5 file that are used: https://cyclonedx.org/docs/1.5/json. A time and a serial number are left out, since both
// may be, so that the same program has the same list.
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		Purl       string     `json:"purl"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// partsOf lists the modules that a Go program was linked from, by what the linker wrote into it.
func partsOf(program, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	sum, err := hashFile(program)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(list(info, version, sum), "", "  ")
	return append(text, '\n'), err
}

func list(info *debug.BuildInfo, version, sum string) bom {
	self := component{Type: "application", Name: info.Path, Version: version, Purl: purl(info.Main.Path, version), Hashes: []hash{{"SHA-256", sum}}}
	self.Ref = self.Purl
	self.Properties = append(self.Properties, property{"go:version", info.GoVersion})
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" || s.Key == "-trimpath" {
			self.Properties = append(self.Properties, property{"go:" + strings.TrimPrefix(s.Key, "-"), s.Value})
		}
	}
	b := bom{Format: "CycloneDX", SpecVersion: "1.5", Version: 1, Metadata: metadata{self}, Components: []component{}}
	std := component{Type: "library", Ref: purl("std", strings.TrimPrefix(info.GoVersion, "go")), Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}
	std.Purl = std.Ref
	b.Components = append(b.Components, std)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Ref: purl(m.Path, m.Version), Name: m.Path, Version: m.Version, Purl: purl(m.Path, m.Version)}
		if m.Sum != "" {
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		b.Components = append(b.Components, c)
	}
	all := dependency{Ref: self.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	b.Dependencies = []dependency{all}
	return b
}

// purl is a package URL of a Go module: https://github.com/package-url/purl-spec. Of what a module path and version may hold only the plus
// sign and the exclamation mark are not plain there.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.NewReplacer("+", "%2B", "!", "%21").Replace(version)
}
