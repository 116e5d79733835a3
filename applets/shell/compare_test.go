package shell

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// fixtures are the files that utilities of ours and of the host are run on.
func fixtures(t *testing.T) string {
	t.Helper()
	var big strings.Builder
	for i := range 5000 {
		big.WriteString("line " + strings.Repeat("x", i%90) + "\n")
	}
	dir := write(t, map[string]string{
		"empty": "", "one": "one line\n", "noend": "a\nb\nlast without end",
		"words":       "the quick  brown\tfox\n\n  jumps over\nthe lazy dog\nThe End\nthe quick  brown\tfox\n",
		"numbers":     "10\n9\n-3\n2.5\n100\n9\n007\nabc\n 4\n1e3\n",
		"table":       "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nbob:x:1000:100:Bob B:/home/bob:/bin/sh\nal:x:20:100::/:\nnone\n",
		"sizes":       "1K\ta\n3M\tb\n512\tc\n1.5G\td\n2K\te\n",
		"versions":    "v1.10\nv1.9\nv1.2.3\nv1.2\nv2\n",
		"dup":         "a\na\nA\nb\nb\nb\nc\n",
		"big":         big.String(),
		"utf8":        "zażółć gęślą jaźń\nüben\n日本語\n",
		"re":          "a+b\naab\nab\n[x]\n(y)\na.b\na\\b\nfoo{2}\nfoofoo\n*star\n^hat\n$dollar\nword words sword\nTAB\there\n",
		"binary":      "text\x00more\x01\xff\nsecond\n",
		"tree/a.txt":  "alpha\nneedle here\n",
		"tree/b.log":  "beta\n",
		"tree/d/c.go": "needle\nNeedle\n", "tree/d/.hidden": "needle\n", "tree/d/e/deep.txt": "x\n",
		"space name": "content\n", "list": "a b\nc\n'd e' \"f\"\n g\\ h\n",
	})
	for path, err := range map[string]error{
		"link":      os.Symlink("words", filepath.Join(dir, "link")),
		"dangling":  os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		"tree/up":   os.Symlink("..", filepath.Join(dir, "tree/up")),
		"emptydir":  os.Mkdir(filepath.Join(dir, "emptydir"), 0o750),
		"mode":      os.Chmod(filepath.Join(dir, "one"), 0o755|os.ModeSetuid),
		"time":      os.Chtimes(filepath.Join(dir, "one"), time.Unix(1e9, 0), time.Unix(1e9, 5)),
		"hard link": os.Link(filepath.Join(dir, "words"), filepath.Join(dir, "hard")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return dir
}

// host runs a script with the host's shell and coreutils.
func host(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("/bin/bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=" + locale, "TZ=UTC"}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	cmd.Run()
	return stdout.String()
}

// locale is the host's for comparisons: ours knows UTF-8 and sorts by bytes.
const locale = "C.UTF-8"

// TestLikeCoreutils compares what our utilities print, and their exit codes,
// with those of the host.
func TestLikeCoreutils(t *testing.T) {
	if _, err := exec.LookPath("/bin/bash"); err != nil {
		missing(t, err)
	}
	t.Setenv("TZ", "UTC")
	dir := fixtures(t)
	for line := range strings.Lines(comparisons) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t.Run(line, func(t *testing.T) {
			script := withCodes(t, line)
			want := host(t, dir, script)
			got, errOut, _ := run(t, dir, script)
			if got != want {
				t.Errorf("ours %q\nhost %q\nour errors: %s", short(got), short(want), errOut)
			}
		})
	}
}

// withCodes makes a script print the exit code of each of its statements.
func withCodes(t *testing.T, line string) string {
	t.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, st := range file.Stmts {
		syntax.NewPrinter().Print(&b, st)
		b.WriteString("\necho \"[$?]\"\n")
	}
	return b.String()
}

func short(text string) string {
	if len(text) > 1000 {
		return text[:1000] + "..."
	}
	return text
}

// comparisons has a script a line.
const comparisons = `
wc words; wc <words; wc -l words; wc -w words one; wc -c empty; wc -m utf8; wc -L words; wc -lw words empty noend; wc -l big noend
wc utf8 words noend; wc nosuch words
cat one words; cat -n noend one; cat -A re binary; cat nosuch one; cat - <one; cat -n words; cat one - one <words
head words; head -3 big; head -n 2 words one; head -c 5 words; head -n -2 words; head -c -4 one; head -q -n1 one words; head -v -n1 one; head -n 0 words; head -c 1k big
head -n 5 nosuch one; seq 100 | head -3
tail words; tail -2 words; tail -n +3 words; tail -c 7 words; tail -c +5 words; tail -n 3 big noend; tail -n 1 noend; tail -n 0 words; seq 100 | tail -n 3; seq 100 | tail -c 6; seq 10 | tail -n +8
tail -n 4000 big | wc; cat big | tail -n 4000 | wc; tail -n 1 empty; tail -q -n1 one words
sort words; sort -r words; sort -n numbers; sort -nr numbers; sort -u dup; sort -f dup; sort -fu dup; sort -h sizes; sort -V versions; sort -k2 sizes; sort -t: -k3n table; sort -t: -k4,4n -k1,1r table; sort -t : -k 5 table
sort -c numbers; sort -c dup 2>/dev/null; sort -k1.2,1.3 words; sort -b words; sort -k2b words; sort -s -k1,1 words; sort -n -u numbers; sort noend one; sort -z words | cat -A; sort -t: -k3,3nr table; sort -k2,2 -k1 words; sort nosuch one
sort -o sorted words && cat sorted
uniq dup; uniq -c dup; uniq -d dup; uniq -u dup; uniq -i dup; uniq -ci dup; uniq -f1 words; uniq -s 1 dup; sort words | uniq -c | sort -rn
cut -d: -f1 table; cut -d: -f1,3- table; cut -d: -f-2 -s table; cut -c1-3 words; cut -b2,4 words; cut -f2 words; cut -d: -f1,7 --output-delimiter=, table; cut -d: -f2 --complement table; cut -c2- noend
tr a-z A-Z <words; tr -d aeiou <words; tr -s ' ' <words; tr -cd 0-9 <numbers; tr -cs a-z '\n' <words; tr '[:lower:]' '[:upper:]' <words; tr abc x <dup; tr '\t' ' ' <words; tr a-c '\060-\062' <dup; tr -ds a b <dup; tr -d '\n' <words; tr 'ab' 'b-c' <dup
seq 5; seq 2 5; seq 1 2 9; seq 5 -2 1; seq -w 8 11; seq -s, 4; seq 0.5 0.5 2; seq 5 1; seq -3 -1; seq 1 0.1 1.5
grep the words; grep -i the words; grep -v the words; grep -n o words; grep -c the words empty; grep -l the words one empty; grep -L the words one; grep -q the words; grep -q nosuch words; grep -h line one noend; grep -H one one; grep -o 'o.' words; grep -w the words; grep -w word re; grep -x ab re
grep -E 'fo+|aa' re; grep -E '^(the|The)' words; grep 'a\+b' re; grep -E 'a\+b' re; grep 'a+b' re; grep '\(foo\)' re; grep -E '(foo){2}' re; grep 'foo\{2\}' re; grep 'foo{2}' re; grep -F 'a.b' re; grep 'a.b' re; grep '*star' re; grep '\^hat' re; grep '^^hat' re; grep '[[]x[]]' re; grep '[]]' re
grep '\<word\>' re; grep '\bword' re; grep '[[:upper:]]' words; grep '^$' words; grep '^[^t]' words; grep 'e$' words; grep '\$d' re; grep 'a\\b' re; grep -e the -e fox words; grep -A1 jumps words; grep -B1 lazy words; grep -C1 jumps words; grep -n -A1 the words; grep -m2 the words; grep -vn the words; grep -c '' words
grep -rn needle tree | sort; grep -rl needle tree | sort; grep -ri needle tree --include='*.go'; grep -rc needle tree/d | sort; grep -s x nosuch; grep x nosuch one; grep -r needle tree --exclude='*.go' | sort; cat words | grep -n fox; grep 'x\|lazy' words; grep -E 'a{1,2}b' re; grep 'TAB	' re; grep -E '[0-9]+' numbers; grep -io THE words
grep second binary >/dev/null; grep -c second binary; grep -q text binary; grep zaż utf8; grep 'j.ź' utf8; grep -o '[^ ]*ń' utf8; grep -E 'x*' one; grep '\w\+' one; grep -E '\.' re; grep -c . utf8; grep 'a\{2\}' re; grep -- -3 numbers; grep -n '' empty; grep -E '^|x' one; grep -E 'a|' one; grep '\.' re
find tree | sort; find tree -name '*.txt' | sort; find tree -type f | sort; find tree -type d | sort; find tree -type l; find tree -iname 'A*'; find tree -maxdepth 1 | sort; find tree -mindepth 2 | sort; find tree -name '.*'; find tree -path '*/d/*' | sort; find tree ! -type d | sort; find tree -type f -o -type l | sort
find tree \( -name '*.go' -o -name '*.log' \) -print | sort; find . -empty | sort; find . -size +1k -type f | sort; find . -perm -4000; find . -perm 4755; find . -perm /4000; find . -newer one -name empty; find tree -name d -prune -o -print | sort; find tree -type f -exec echo {} \; | sort; find tree -depth | tail -1; find nosuch; find tree -name 'c.g?'; find . -links +1 -type f | sort
find tree -print0 | tr '\0' '\n' | sort; find tree -type f,l | sort; find emptydir; find | sort; find tree -not -name '*.*' | sort; find . -name '[a-e]*' -maxdepth 1 2>/dev/null | sort; find tree/ -maxdepth 1 | sort; find tree tree/d -maxdepth 0; find . -mtime +1000; find . -size -1; find . -user 0 -name one; find . -inum 1
find tree -name 'a*' -exec cat {} + ; find tree -bogus 2>/dev/null || echo bad; find tree \( -name x 2>/dev/null || echo bad; find tree -name 2>/dev/null || echo bad
xargs <list; xargs -n1 echo <list; seq 5 | xargs -n2; seq 3 | xargs -I{} echo '<{}>'; printf 'a\0b c\0' | xargs -0 -n1 echo; xargs echo x </dev/null; xargs -r echo x </dev/null; echo 'a b' | xargs -t echo 2>&1; seq 3 | xargs false; echo x | xargs nosuchcommand; seq 2 | xargs sh -c 'exit 255' x
stat -c '%n %s %a %A %F %h %u %g %U %G' one words emptydir link; stat -c '%X %Y %y' one; stat -L -c %F link; stat -c %N link; stat -c '%i' one; stat -c '%b %o %f %d' one; stat -c '%t %T %F' /dev/null; stat -c '%10s|%-10s|%05a' one; stat -c '%%' one; stat nosuch
ls; ls -a; ls -A; ls -1 tree; ls tree emptydir; ls -d tree; ls -R tree; ls -F; ls -r; ls -S big words one; ls one words; ls nosuch; ls nosuch one; ls link; ls tree/up/one; ls -F link; ls -d .; ls -a emptydir; ls tree/
ls -ln one; ls -ld emptydir; ls -l one | cut -c1-10; ls -lh big | tr -s ' ' | cut -d' ' -f5; ls -li one | tr -s ' ' | cut -d' ' -f1,2; ls -l /dev/null | tr -s ' ' | cut -d ' ' -f1,5,6; ls -lL link 2>/dev/null | cut -c1
du -s tree; du tree | sort; du -a tree | sort; du -sh big; du -b one; du -sb words; du -d1 tree | sort; du -c one words; du -s nosuch; du hard words; du -sm big
basename a/b/c; basename a/b.c .c; basename /; basename a/; basename .c .c; dirname a/b/c; dirname a; dirname /a; dirname a/b/; dirname /; dirname a//b
readlink link; readlink -f link; readlink one; readlink -f nosuch; realpath link | xargs basename; readlink -f tree/up/one | xargs basename; readlink nosuch
sha256sum one words; sha1sum <one; md5sum one; sha512sum empty; sha256sum words one >sums; sha256sum -c sums; shasum -a 256 one; shasum one; sha256sum nosuch one
base64 words; base64 one; base64 words | base64 -d; base64 empty; base64 big | head -2; echo aGk= | base64 -d
gzip -c words | gzip -d; gzip -c words | zcat; cp words z; gzip z; ls z*; gunzip z.gz; cat z; gzip z; gzip -dk z.gz; ls z*; gzip z 2>/dev/null || echo bad; rm -f z z.gz; gzip nosuch; echo x | gzip -d
hexdump -C words; hexdump -C binary; hexdump -C -n 20 -s 4 words; head -c 100 /dev/zero | hexdump -C; hexdump -C empty; head -c 100 /dev/zero | hexdump -C -v
mkdir m; mkdir m; mkdir -p m/a/b m; mkdir x/y/z; rmdir m/a; rmdir m/a/b; find m; mkdir -m 700 m/p; stat -c %a m/p; rm m; rm -r m; rm m; rm -f m; mkdir -m u=rwx,go= m; stat -c %a m; rmdir m
mkdir m; cp words m/w; cp -r tree m; find m | sort; cp one words m; ls m; cp nosuch m; cp one words nosuch; cp tree m/t; cp -p one m/p; stat -c '%a %Y' m/p; cp -a tree m/a; find m/a | sort; cp link m/l; stat -c %F m/l; cp -P link m/k; stat -c %F m/k; cp one one; cp -n words m/p; cat m/p; cp -r m m/sub 2>/dev/null || true; cp -r m m/sub 2>/dev/null; find m/sub | wc -l; rm -r m
mkdir m; cp one m/a; mv m/a m/b; ls m; mv m/b m/nosuch/c; mv nosuch m; touch m/c; mv m/b m/c m; mkdir m/d; mv m/c m/d; ls m/d; mv m/d m/e; find m | sort; mv -n m/e m; rm -r m
ln -s words s; readlink s; ln -s words s; ln -sf one s; readlink s; ln one h; stat -c %h one; ln nosuch h2; rm s h; mkdir m; ln -s ../one m; readlink m/one; ln -sfn two m/one; readlink m/one; rm -r m; stat -c %h one
cp one c; chmod 600 c; stat -c %a c; chmod u+x,g=rw,o-r c; stat -c %a c; chmod a-w c; stat -c %a c; chmod +x c; stat -c %a c; chmod u+s,g+s c; stat -c %a c; chmod 4711 c; stat -c %a c; chmod -w c; stat -c %a c; chmod o=t c; stat -c %a c; chmod x c 2>/dev/null || echo bad; chmod 644 nosuch; chmod g+X c; stat -c %a c; rm -f c
mkdir -p m/n; touch m/f; chmod -R go-rwx m; stat -c %a m m/n m/f; chmod -R a+X m; stat -c %a m m/n m/f; rm -r m; umask 077; touch q; stat -c %a q; umask 022; rm q
touch -d 2001-02-03T04:05:06Z tt; stat -c %Y tt; touch -c never; ls never; touch tt; rm tt; touch nosuch/x; chown 5:6 empty; stat -c %u:%g empty; chown 0 empty; stat -c %u:%g empty; chown :0 empty; stat -c %u:%g empty
x=$(mktemp -p . abc.XXXXXX) && ls $x | cut -c1-4 && stat -c %a $x && rm $x; d=$(mktemp -d ./dir.XXXX) && stat -c '%a %F' $d && rmdir $d; mktemp -p . abc >/dev/null 2>&1 || echo bad; mktemp ./nosuch/XXXXXX >/dev/null
tar -cf t.tar tree words; tar -tf t.tar | sort; mkdir out; tar -xf t.tar -C out; find out | sort; cat out/tree/a.txt; readlink out/tree/up; tar czf t.tgz -C tree a.txt d; tar tf t.tgz | sort; rm -r out t.tar t.tgz
printf a | tee x y; cat x y; printf b | tee -a x; cat x; rm x y; echo z | tee /nosuch/x
env -i A=1 B=2 | sort; A=1 env | grep '^A='; Y=1 env -u Y sh -c 'echo $Y'; env X=5 sh -c 'echo $X'; env nosuchcommand; env false; sleep 0; sleep x 2>/dev/null || echo bad; id -u; id -g; id -un; id -G; id -u root; id nosuchuser; nproc >/dev/null
uname; uname -r; uname -m; uname -sr; uname -n; hostname; date -u -d @1000000000; date -u -d @1000000000 '+%Y-%m-%d %H:%M:%S %j %a %b %e %F %T %s %p %I %y %u %w %V %D %R %%'; date -u -d '2001-02-03 04:05:06' +%s; date -u -d 2001-02-03 +%A; date +x
mountpoint /proc; mountpoint -q .; mountpoint /nosuch; sync; sync one; true; false; test -f one; kill -l TERM >/dev/null; kill -0 $$; kill -0 999999999; kill x; kill
dd if=words bs=4 count=3 2>/dev/null; dd if=words bs=4 skip=2 count=1 2>/dev/null; printf XY | dd of=dw conv=notrunc 2>/dev/null; dd if=words of=dw bs=1 seek=1 count=3 2>/dev/null; cat dw; rm dw; printf 0123456789 >dn; printf ab | dd of=dn bs=1 seek=3 conv=notrunc 2>/dev/null; cat dn; rm dn; cat words | dd bs=7 2>/dev/null | wc -c
cat words | less; cat nosuch | head -1; cat tree; head tree
`
