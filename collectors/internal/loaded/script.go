package loaded

import (
	"path"
	"strings"
)

// language is one family of interpreters and how their command lines are read, by
// the manual of each.
type language struct {
	inline string            // letters of options after which the program itself stands, or no file at all
	taking string            // letters of options that take a value, in the same word or the next
	long   map[string]string // long options: "inline", or "value" where the next word is one
	file   string            // option whose value is the script
	module string            // option whose value is a module
	plain  bool              // options are words: no letters together
	lax    bool              // other options may take the next word: it is the script if it is a file
	suffix string            // of a script that stands for itself; "" any
}

// languageOf tells an interpreter by the name of its executable, without versions.
func languageOf(executable string) (language, bool) {
	name := strings.TrimRight(path.Base(executable), "0123456789.-")
	switch name {
	case "python", "pypy":
		return language{inline: "c", taking: "WX", module: "m", long: map[string]string{"--check-hash-based-pycs": "value"}}, true
	case "perl":
		return language{inline: "eE", taking: "I"}, true
	case "ruby":
		return language{inline: "e", taking: "IrCE", long: map[string]string{"--encoding": "value", "--external-encoding": "value", "--internal-encoding": "value"}}, true
	case "node", "nodejs":
		return language{plain: true, lax: true, long: map[string]string{
			"-e": "inline", "--eval": "inline", "-p": "inline", "--print": "inline", "-pe": "inline",
			"-r": "value", "--require": "value", "--import": "value", "-C": "value", "--conditions": "value", "--loader": "value", "--experimental-loader": "value",
		}}, true
	case "php", "php-cgi":
		return language{inline: "rBRES", taking: "cdztg", file: "f"}, true
	case "sh", "bash", "dash", "ksh", "mksh", "zsh":
		return language{inline: "cs", taking: "oO", long: map[string]string{"--rcfile": "value", "--init-file": "value"}}, true
	case "java":
		return language{plain: true, file: "-jar", suffix: ".java", long: map[string]string{
			"-cp": "value", "-classpath": "value", "--class-path": "value", "-p": "value", "--module-path": "value", "--upgrade-module-path": "value",
			"--add-modules": "value", "--add-exports": "value", "--add-opens": "value", "--add-reads": "value", "--source": "value",
			"-m": "inline", "--module": "inline", "-d": "value", "--describe-module": "value",
		}}, true
	}
	return language{}, false
}

// Interprets reports whether an executable is an interpreter whose script is looked
// for.
func Interprets(executable string) bool {
	_, interprets := languageOf(executable)
	return interprets
}

// words says where, among the arguments, the script is named.
type words struct {
	files  []string // the first that is a file is the script
	module string   // of Python, in place of a file
	class  bool     // the program is named otherwise: a main class, or a module of Java
	cut    bool     // the arguments end before it would be named
}

// read goes through the arguments after the interpreter's own name.
func (l *language) read(arguments []string) words {
	var w words
	for i := 1; i < len(arguments); i++ {
		word := arguments[i]
		next := ""
		if i+1 < len(arguments) {
			next = arguments[i+1]
		}
		switch {
		case word == "--":
			w.files = append(w.files, next)
			return w
		case len(word) < 2 || word[0] != '-' && word[0] != '+': // "-" is the standard input
			if l.suffix == "" && word != "-" || l.suffix != "" && strings.HasSuffix(word, l.suffix) {
				w.files = append(w.files, word)
			} else {
				w.class = l.suffix != ""
			}
			if l.lax && i > 1 && len(arguments[i-1]) > 1 && arguments[i-1][0] == '-' && len(w.files) < most {
				continue
			}
			return w
		case l.plain && word == l.file:
			w.files = append(w.files, next)
			return w
		case l.plain || strings.HasPrefix(word, "--"):
			switch l.long[word] {
			case "inline":
				w.class = l.suffix != ""
				return w
			case "value":
				i++
			}
		default:
			switch took, value := l.letters(word[1:], next); took {
			case 'f':
				w.files = append(w.files, value)
				return w
			case 'm':
				w.module = value
				return w
			case 'e':
				return w
			case 'v':
				i++
			}
		}
	}
	w.cut = true
	return w
}

// most is how many words are tried as the script.
const most = 4

// letters reads options of one letter that stand together: 'e' the program is in
// the arguments, 'v' the last takes the next word, 'f' and 'm' that value is a file
// or a module, 0 nothing of the kind.
func (l *language) letters(letters, next string) (took byte, value string) {
	for i := range len(letters) {
		letter := letters[i : i+1]
		rest := letters[i+1:]
		switch {
		case strings.Contains(l.inline, letter):
			return 'e', ""
		case letter == l.module || letter == l.file:
			if rest == "" {
				rest = next
			}
			if letter == l.module {
				return 'm', rest
			}
			return 'f', rest
		case strings.Contains(l.taking, letter) && rest == "":
			return 'v', ""
		case strings.Contains(l.taking, letter) && l.inline != "cs": // the shells' o and O take the next word wherever they stand
			return 0, ""
		case strings.Contains(l.taking, letter):
			return 'v', ""
		}
	}
	return 0, ""
}

// moduleFiles lists where Python's module may lie, the first first. prefix is that
// of a virtual environment, or of the interpreter.
func moduleFiles(module, cwd, executable, called string) []string {
	if module == "" || len(module) > 256 || strings.Trim(module, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != "" {
		return nil
	}
	version := path.Base(executable)
	if !strings.HasPrefix(version, "python3") {
		return nil
	}
	var places []string
	if cwd != "" {
		places = append(places, cwd)
	}
	for _, program := range []string{called, executable} {
		if dir := path.Dir(program); path.IsAbs(program) && path.Base(dir) == "bin" {
			lib := path.Join(path.Dir(dir), "lib")
			places = append(places, path.Join(lib, version), path.Join(lib, version, "site-packages"), path.Join(lib, version, "dist-packages"))
		}
	}
	places = append(places, "/usr/local/lib/"+version+"/dist-packages", "/usr/local/lib/"+version+"/site-packages", "/usr/lib/python3/dist-packages")
	var files []string
	for _, place := range places {
		base := path.Join(place, strings.ReplaceAll(module, ".", "/"))
		files = append(files, base+"/__main__.py", base+".py")
	}
	return files
}
