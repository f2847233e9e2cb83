package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Guide is the name of the guide for those who begin. Tests do what it says.
const Guide = "docs/guide.md"

// Block is a fenced block of a Markdown file.
type Block struct {
	Language string
	File     string // behind the language: the file of the repository that it is for; "" for none
	Text     string
	Line     int // of its first line of text
}

// ReadGuide returns the guide and its blocks.
func ReadGuide(root string) (text string, blocks []Block, err error) {
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(Guide)))
	if err != nil {
		return "", nil, fmt.Errorf("read guide: %w", err)
	}
	blocks, err = fenced(string(data))
	return string(data), blocks, err
}

const fence = "```"

// fenced returns the fenced blocks of a Markdown text. Each must say what it is, so that
// none is left unread.
func fenced(text string) (blocks []Block, err error) {
	var open *Block
	line := 0
	for l := range strings.Lines(text) {
		line++
		info, isFence := strings.CutPrefix(strings.TrimRight(l, "\n"), fence)
		switch {
		case !isFence && open != nil:
			open.Text += l
		case !isFence:
		case open != nil:
			if info != "" {
				return nil, fmt.Errorf("line %d: a block of line %d ends with %q", line, open.Line, info)
			}
			blocks, open = append(blocks, *open), nil
		default:
			words := strings.Fields(info)
			if len(words) < 1 || len(words) > 2 {
				return nil, fmt.Errorf("line %d: want a block with its language, and perhaps its file: %q", line, info)
			}
			open = &Block{Language: words[0], Line: line + 1}
			if len(words) == 2 {
				open.File = words[1]
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.Line)
	}
	return blocks, nil
}
