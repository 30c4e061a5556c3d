package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// goFile is what the budgets need to know of one Go file.
type goFile struct {
	path         string
	pkg          string
	test         bool // _test.go, or a package of test code such as storetest
	generated    bool // by its header; sizes and docs of such files are nobody's writing
	lines        int
	hasDoc       bool // a package comment
	funcs        []function
	undocumented []finding
	sleeps       []finding
	shells       []finding
}

// function is a declared function, or a function literal at package level.
type function struct {
	name  string
	line  int
	lines int // from func to the closing brace, both counted
}

// finding is one breach at one line.
type finding struct {
	path string
	line int
	what string
}

// waiver gives the reason behind "budget:allow" at a line's end.
var waiver = regexp.MustCompile(`budget:allow[ \t]+(\S.*)$`)

var generatedHeader = regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)

// parseGo reads one file. Findings on waived lines are kept here: the counting of waivers needs them.
func parseGo(name string, data []byte) (*goFile, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	f := &goFile{path: name, pkg: file.Name.Name, lines: len(lines(data)), hasDoc: says(file.Doc)}
	f.test = strings.HasSuffix(name, "_test.go") || strings.HasSuffix(path.Base(path.Dir(name)), "test")
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if comment.Pos() < file.Package && generatedHeader.MatchString(comment.Text) {
				f.generated = true
			}
		}
	}
	f.measureFuncs(files, file)
	if !strings.HasSuffix(name, "_test.go") && !f.generated {
		f.findUndocumented(files, file)
	}
	imports := imported(file)
	ast.Inspect(file, func(node ast.Node) bool {
		f.findShell(files, node)
		if timeName := imports["time"]; timeName != "" && imports["testing/synctest"] == "" {
			f.findSleep(files, node, timeName)
		}
		return true
	})
	return f, nil
}

// imported maps import paths to the names they have in the file.
func imported(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		names[name] = path.Base(name)
		if spec.Name != nil {
			names[name] = spec.Name.Name
		}
	}
	return names
}

// says tells whether a comment has words; directives alone are none.
func says(doc *ast.CommentGroup) bool {
	return doc != nil && strings.TrimSpace(doc.Text()) != ""
}

func (f *goFile) measureFuncs(files *token.FileSet, file *ast.File) {
	add := func(name string, node ast.Node) {
		from, to := files.Position(node.Pos()).Line, files.Position(node.End()).Line
		f.funcs = append(f.funcs, function{name: name, line: from, lines: to - from + 1})
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			// Pos of a declaration is its func keyword, not its comment.
			add(decl.Name.Name, decl)
		case *ast.GenDecl:
			ast.Inspect(decl, func(node ast.Node) bool {
				if literal, ok := node.(*ast.FuncLit); ok {
					add("func literal", literal)
					return false
				}
				return true
			})
		}
	}
}

func (f *goFile) findUndocumented(files *token.FileSet, file *ast.File) {
	miss := func(name *ast.Ident, label string) {
		f.undocumented = append(f.undocumented, finding{f.path, files.Position(name.Pos()).Line, label + " has no doc comment"})
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			owner, visible := receiver(decl)
			if decl.Name.IsExported() && visible && !says(decl.Doc) {
				miss(decl.Name, owner+decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				for _, name := range bare(decl, spec) {
					miss(name, name.Name)
				}
			}
		}
	}
}

// receiver names a method's type with a dot, and tells whether that type can be seen from outside. A plain function has no owner.
func receiver(decl *ast.FuncDecl) (owner string, visible bool) {
	if decl.Recv == nil {
		return "", true
	}
	at := decl.Recv.List[0].Type
	for {
		switch of := at.(type) {
		case *ast.StarExpr:
			at = of.X
		case *ast.ParenExpr:
			at = of.X
		case *ast.IndexExpr:
			at = of.X
		case *ast.IndexListExpr:
			at = of.X
		case *ast.Ident:
			return of.Name + ".", of.IsExported()
		default:
			return "", true
		}
	}
}

// bare gives the exported names of a spec that neither it, its line nor (for constants, variables and single types) its group documents.
func bare(decl *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	var names []*ast.Ident
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		single := !decl.Lparen.IsValid()
		if spec.Name.IsExported() && !says(spec.Doc) && !says(spec.Comment) && !(single && says(decl.Doc)) {
			names = append(names, spec.Name)
		}
	case *ast.ValueSpec:
		if says(spec.Doc) || says(spec.Comment) || says(decl.Doc) {
			return nil
		}
		for _, name := range spec.Names {
			if name.IsExported() {
				names = append(names, name)
			}
		}
	}
	return names
}

// findSleep notes time.Sleep, and a bare <-time.After, which is the same thing in other clothes.
func (f *goFile) findSleep(files *token.FileSet, node ast.Node, timeName string) {
	call, ok := node.(*ast.CallExpr)
	what := "Sleep"
	if statement, is := node.(*ast.ExprStmt); is {
		if receive, is := statement.X.(*ast.UnaryExpr); is && receive.Op == token.ARROW {
			call, ok = receive.X.(*ast.CallExpr)
			what = "After"
		}
	}
	if !ok {
		return
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != what {
		return
	}
	if from, ok := selector.X.(*ast.Ident); ok && from.Name == timeName {
		f.sleeps = append(f.sleeps, finding{f.path, files.Position(call.Pos()).Line, "waits by time." + what + " outside a synctest bubble"})
	}
}

// findShell notes a shell followed by a -c flag in an argument list.
func (f *goFile) findShell(files *token.FileSet, node ast.Node) {
	var args []ast.Expr
	switch node := node.(type) {
	case *ast.CallExpr:
		args = node.Args
	case *ast.CompositeLit:
		args = node.Elts
	}
	for i := 1; i < len(args); i++ {
		shell, flag := literal(args[i-1]), literal(args[i])
		switch path.Base(shell) {
		case "sh", "bash", "dash", "zsh", "ash", "ksh":
			if strings.HasPrefix(flag, "-") && !strings.HasPrefix(flag, "--") && strings.Contains(flag, "c") {
				f.shells = append(f.shells, finding{f.path, files.Position(args[i].Pos()).Line, "runs " + shell + " " + flag})
			}
		}
	}
}

// literal gives the value of a string literal, "" for anything else.
func literal(expr ast.Expr) string {
	basic, ok := expr.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return ""
	}
	value, err := strconv.Unquote(basic.Value)
	if err != nil {
		return ""
	}
	return value
}
