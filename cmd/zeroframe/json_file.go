package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// jsonFile is the file that a flag --json names; nil: none is wanted.
type jsonFile struct{ file *os.File }

// createJSON makes the file before any time is spent on what goes into it.
func createJSON(name string) (*jsonFile, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("--json: %w", err)
	}
	return &jsonFile{f}, nil
}

// write writes v, and closes the file.
func (j *jsonFile) write(v any) error {
	if j == nil {
		return nil
	}
	encoder := json.NewEncoder(j.file)
	encoder.SetIndent("", "  ")
	if err := errors.Join(encoder.Encode(v), j.file.Close()); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return nil
}

// close closes the file if nothing was written.
func (j *jsonFile) close() {
	if j != nil {
		j.file.Close()
	}
}
