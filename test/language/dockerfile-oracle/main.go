// The Dockerfile language as BuildKit itself understands it, for tests: one question a line on standard input, one answer a
// line on standard output, both JSON. It uses BuildKit's own packages, needs no daemon and no network. .ci/run compiles it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	digest "github.com/opencontainers/go-digest"
)

type question struct {
	Ask string `json:"ask"`

	// parse, syntax, convert
	Dockerfile []byte `json:"dockerfile"`
	// convert
	Platform string            `json:"platform"`
	Target   string            `json:"target"`
	Args     map[string]string `json:"args"`
	Labels   map[string]string `json:"labels"`
	// Configs by the name that is asked for (docker.io/library/base:latest).
	Images map[string]json.RawMessage `json:"images"`
	// All stages are converted, as `--call=check` does it.
	All bool `json:"all"`

	// expand
	Word       string            `json:"word"`
	Env        map[string]string `json:"env"`
	Escape     string            `json:"escape"`
	RawQuotes  bool              `json:"rawQuotes"`
	SkipUnset  bool              `json:"skipUnset"`
	SkipQuotes bool              `json:"skipQuotes"`

	// match: patterns of an ignore file, and paths in walking order; glob: the first pattern alone
	Patterns string   `json:"patterns"`
	Paths    []string `json:"paths"`
}

type answer map[string]any

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		if err := json.NewEncoder(out).Encode(reply(q)); err != nil {
			panic(err)
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

func reply(q question) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{"error": fmt.Sprintf("panic: %v", r), "panic": true}
		}
	}()
	switch q.Ask {
	case "parse":
		return parse(q)
	case "syntax":
		ref, cmdline, loc, ok := parser.DetectSyntax(q.Dockerfile)
		if !ok {
			return answer{}
		}
		return answer{"ref": ref, "cmdline": cmdline, "line": loc[0].Start.Line}
	case "expand":
		return expand(q)
	case "convert":
		return convert(q)
	case "match":
		return match(q)
	case "glob":
		matched := make([]bool, len(q.Paths))
		for i, p := range q.Paths {
			ok, err := filepath.Match(q.Patterns, p)
			if err != nil {
				return failure(err)
			}
			matched[i] = ok
		}
		return answer{"matched": matched}
	}
	panic("unknown question " + q.Ask)
}

func failure(err error) answer {
	a := answer{"error": err.Error()}
	var located *parser.LocationError
	if errors.As(err, &located) {
		lines := []int{}
		for _, ranges := range located.Locations {
			for _, r := range ranges {
				lines = append(lines, r.Start.Line)
			}
		}
		a["lines"] = lines
	}
	return a
}

func parse(q question) answer {
	file, err := parser.Parse(bytes.NewReader(q.Dockerfile))
	if err != nil {
		return failure(err)
	}
	// The typed instructions share strings with the nodes and sort some of them.
	nodes := []answer{}
	for _, n := range file.AST.Children {
		nodes = append(nodes, describe(n))
	}
	stages, globals, err := instructions.Parse(file.AST, linter.New(&linter.Config{}))
	if err != nil {
		return failure(err)
	}
	type command struct {
		Name   string
		Fields any
		Mounts any
	}
	type stage struct {
		instructions.Stage
		Commands []command
	}
	typed := []stage{}
	for _, s := range stages {
		commands := []command{}
		for _, c := range s.Commands {
			one := command{Name: c.Name(), Fields: c}
			if run, ok := c.(*instructions.RunCommand); ok {
				one.Mounts = instructions.GetMounts(run)
			}
			commands = append(commands, one)
		}
		typed = append(typed, stage{Stage: s, Commands: commands})
	}
	emptyLines := []string{}
	for _, w := range file.Warnings {
		emptyLines = append(emptyLines, fmt.Sprint(w.Location.Start.Line))
	}
	return answer{"escape": string(file.EscapeToken), "nodes": nodes, "globals": globals, "stages": typed, "warnings": emptyLines}
}

func describe(n *parser.Node) answer {
	words := []string{}
	for next := n.Next; next != nil; next = next.Next {
		words = append(words, next.Value)
	}
	return answer{
		"name": n.Value, "words": words, "flags": n.Flags, "original": n.Original, "json": n.Attributes["json"],
		"start": n.StartLine, "end": n.EndLine, "heredocs": n.Heredocs, "comments": n.PrevComment,
	}
}

type env map[string]string

func (e env) Get(key string) (string, bool) {
	v, ok := e[key]
	return v, ok
}

func (e env) Keys() []string {
	keys := []string{}
	for k := range e {
		keys = append(keys, k)
	}
	return keys
}

func expand(q question) answer {
	lex := shell.NewLex([]rune(q.Escape)[0])
	lex.RawQuotes, lex.SkipUnsetEnv, lex.SkipProcessQuotes = q.RawQuotes, q.SkipUnset, q.SkipQuotes
	got, err := lex.ProcessWordWithMatches(q.Word, env(q.Env))
	if err != nil {
		return failure(err)
	}
	words, err := lex.ProcessWords(q.Word, env(q.Env))
	if err != nil {
		return failure(err)
	}
	keys := func(m map[string]struct{}) []string {
		out := []string{}
		for k := range m {
			out = append(out, k)
		}
		return out
	}
	return answer{"value": got.Result, "words": words, "matched": keys(got.Matched), "unmatched": keys(got.Unmatched)}
}

type images map[string]json.RawMessage

func (i images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, ok := i[ref]
	if !ok {
		return "", "", nil, fmt.Errorf("%s: not found", ref)
	}
	return ref, digest.FromBytes(config), config, nil
}

func convert(q question) answer {
	platform, err := platforms.Parse(q.Platform)
	if err != nil {
		return failure(err)
	}
	platform = platforms.Normalize(platform)
	caps := pb.Caps.CapSet(pb.Caps.All())
	main := llb.Local("context")
	args := map[string]string{}
	for k, v := range q.Args {
		args[k] = v
	}
	warnings := []answer{}
	opt := dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildArgs: args, Labels: q.Labels, Target: q.Target},
		MainContext:    &main,
		SourceMap:      llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", q.Dockerfile),
		TargetPlatform: &platform,
		MetaResolver:   images(q.Images),
		LLBCaps:        &caps,
		AllStages:      q.All,
		Warn: func(rule, _, _, message string, location []parser.Range) {
			line := 0
			if len(location) > 0 {
				line = location[0].Start.Line
			}
			warnings = append(warnings, answer{"rule": rule, "message": message, "line": line})
		},
	}
	opt.BuildPlatforms = append(opt.BuildPlatforms, platforms.MustParse("linux/amd64"))
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), q.Dockerfile, opt)
	if err != nil {
		a := failure(err)
		a["warnings"] = warnings
		return a
	}
	ops, err := operations(result.State)
	if err != nil {
		return failure(err)
	}
	return answer{"image": result.Image, "ops": ops, "epoch": result.Epoch, "warnings": warnings}
}

// operations gives the vertices in the order of the definition: inputs before what uses them.
func operations(state llb.State) ([]*pb.Op, error) {
	def, err := state.Marshal(context.Background())
	if err != nil {
		return nil, err
	}
	ops := []*pb.Op{}
	for _, dt := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			return nil, err
		}
		ops = append(ops, &op)
	}
	return ops, nil
}

// match walks the paths (parents before children) as BuildKit does when it sends a context.
func match(q question) answer {
	patterns, err := ignorefile.ReadAll(bytes.NewReader([]byte(q.Patterns)))
	if err != nil {
		return failure(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return failure(err)
	}
	infos := map[string]patternmatcher.MatchInfo{}
	matched := make([]bool, len(q.Paths))
	for i, p := range q.Paths {
		ok, info, err := matcher.MatchesUsingParentResults(p, infos[filepath.Dir(p)])
		if err != nil {
			return failure(err)
		}
		infos[p], matched[i] = info, ok
	}
	return answer{"matched": matched, "patterns": patterns}
}
