// Package cases is what the programs in Go share: running the cases that were asked for, and telling how each ended.
package cases

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

var (
	Bootstrap = strings.Split(os.Args[1], ",")
	asked     = strings.Split(os.Args[3], ",")
	Acks      = []string{"0", "1", "all"}
	Codecs    = []string{"none", "gzip", "snappy", "lz4", "zstd"}
)

const Deadline = 20 * time.Second

func Topic(name string) string { return os.Args[2] + "-" + name }

// Produced is the topic of what is produced with a codec.
func Produced(acks, codec string) string {
	if acks == "0" {
		return "unacknowledged"
	}
	return codec
}

func Values(name string, count int) []string {
	values := make([]string, count)
	for i := range values {
		values[i] = fmt.Sprint(name, " ", i, strings.Repeat(" grain", 50))
	}
	return values
}

// Test runs a case if it was asked for, and tells of it in one line.
func Test(name string, body func() error) {
	if !slices.Contains(asked, name) {
		return
	}
	told := map[string]string{"case": name}
	if err := body(); err != nil {
		told["error"] = err.Error()
	}
	line, _ := json.Marshal(told)
	fmt.Println(string(line))
}

// Eventually repeats a check for a while: a broker shows what the controller was told only a moment later.
func Eventually(check func() error) error {
	for late := time.Now().Add(Deadline); ; time.Sleep(50 * time.Millisecond) {
		if err := check(); err == nil || time.Now().After(late) {
			return err
		}
	}
}

func Same(expected, actual any) error {
	if reflect.DeepEqual(expected, actual) {
		return nil
	}
	return fmt.Errorf("expected %v, got %v", expected, actual)
}
