package qgjob_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decoderName and decoderCall tell a function that reads what others wrote: by
// its name and a parameter of text, or by the decoder that it calls.
var (
	decoderName = regexp.MustCompile(`^([pP]arse|[dD]ecode|[uU]nmarshal|[rR]ead|[uU]npack|[cC]heckJSON)`)
	decoderCall = regexp.MustCompile(`^(json|yaml|jsontext|xml|zip|gzip|tar|base64)\.(\w+\.)?(Unmarshal\w*|NewDecoder|NewReader|DecodeString)$`)
	textParam   = regexp.MustCompile(`^(string|\[\]byte|io\.Reader|io\.ReaderAt|\*http\.Request|\*http\.Response|http\.Header)$`)
)

// decodersIn finds the decoders of the program, as "folder Function" or
// "folder Type.Method", and the fuzz tests, as "folder FuzzName".
func decodersIn(tree fs.FS) (found, fuzzers []string, err error) {
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return enterProgram(tree, name)
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			full := path.Dir(name) + " " + funcName(fn)
			switch {
			case strings.HasSuffix(name, "_test.go"):
				if strings.HasPrefix(fn.Name.Name, "Fuzz") {
					fuzzers = append(fuzzers, full)
				}
			case decodes(fn, path.Dir(name) != "internal/store"): // what it reads back from rows it wrote itself
				found = append(found, full)
			}
		}
		return nil
	})
	slices.Sort(found)
	return slices.Compact(found), fuzzers, err
}

// enterProgram skips what is no part of the program: scripts, benchmarks,
// tools, and packages of test code.
func enterProgram(tree fs.FS, dir string) error {
	if slices.Contains([]string{"script", "bench", "tools", "faults", "examples"}, dir) || strings.HasSuffix(path.Base(dir), "test") {
		return fs.SkipDir
	}
	return enter(tree, dir)
}

func folderOf(name string) string {
	folder, _, _ := strings.Cut(name, " ")
	return folder
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	return strings.TrimPrefix(exprText(fn.Recv.List[0].Type), "*") + "." + fn.Name.Name
}

func decodes(fn *ast.FuncDecl, calls bool) bool {
	byName := decoderName.MatchString(fn.Name.Name) && slices.ContainsFunc(fn.Type.Params.List, func(p *ast.Field) bool {
		return textParam.MatchString(exprText(p.Type))
	})
	// Read and ReadAt of io are no decoders.
	if fn.Recv != nil && (fn.Name.Name == "Read" || fn.Name.Name == "ReadAt") {
		byName = false
	}
	byCall := false
	ast.Inspect(fn, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok && decoderCall.MatchString(exprText(call.Fun)) {
			byCall = true
		}
		return !byCall
	})
	return byName || byCall && calls
}

// exprText writes the few kinds of expressions that types and calls are made of.
func exprText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return "*" + exprText(e.X)
	case *ast.SelectorExpr:
		return exprText(e.X) + "." + e.Sel.Name
	case *ast.ArrayType:
		return "[]" + exprText(e.Elt)
	case *ast.IndexExpr:
		return exprText(e.X)
	}
	return ""
}

// TestArchitectureDecodersAreFuzzed: whoever adds a decoder adds a fuzz test of
// it, or says here why it needs none.
func TestArchitectureDecodersAreFuzzed(t *testing.T) {
	found, fuzzers, err := decodersIn(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 40 {
		t.Fatalf("only %d decoders were found: the search is broken", len(found))
	}
	for _, name := range found {
		by, listed := decoders[name]
		switch {
		case !listed:
			t.Errorf("%s reads what others wrote: write a fuzz test for it and name that in decoders_table_test.go", name)
		case strings.HasPrefix(by, "- "):
		case !slices.Contains(fuzzers, folderOf(name)+" "+by) && !slices.Contains(fuzzers, by):
			t.Errorf("%s: there is no fuzz test %s", name, by)
		}
	}
	for name := range decoders {
		if !slices.Contains(found, name) {
			t.Errorf("%s is listed as a decoder and is none any more", name)
		}
	}
}
