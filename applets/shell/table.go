package shell

// group is a heading under which help lists utilities.
type group string

// The groups, in the order in which help lists them.
const (
	inFiles     group = "files"
	inText      group = "text"
	inProcesses group = "processes"
	inSystem    group = "machine"
	inNetwork   group = "network"
	inTheShell  group = "shell"
)

func groups() []group {
	return []group{inFiles, inText, inProcesses, inSystem, inNetwork, inTheShell}
}

// utilities is the table of the shell's own commands.
func utilities() []utility {
	return []utility{
		{Name: "basename", Group: inFiles, Usage: "PATH [SUFFIX]", Summary: "print the last element of a path", Example: "basename /usr/lib/modules.dep .dep", Run: baseName, Plain: true},
		{Name: "chmod", Group: inFiles, Usage: "[-R] MODE FILE...", Summary: "change permissions", Example: "chmod 600 key.pem\nchmod -R go-w,u+rwX /var/lib/data", Run: changeModes, Plain: true},
		{Name: "chown", Group: inFiles, Usage: "[-R] USER[:GROUP] FILE...", Summary: "change the owner", Example: "chown -R 0:0 /var/lib/data", Run: changeOwners},
		{Name: "cp", Group: inFiles, Usage: "[FLAGS] SOURCE... TARGET", Summary: "copy files and folders", Example: "cp -a /var/log /tmp/log", Run: copyFiles},
		{Name: "dd", Group: inFiles, Usage: "[if=FILE] [of=FILE] [bs=SIZE] [count=N] [skip=N] [seek=N] [conv=notrunc]", Summary: "copy blocks", Example: "# the first sectors of a disk\ndd if=/dev/sda bs=512 count=34 | hexdump", Run: copyBlocks, Plain: true},
		{Name: "df", Group: inFiles, Usage: "[FLAGS] [FILE...]", Summary: "show how full file systems are", Example: "df -h /var", Run: showSpace},
		{Name: "dirname", Group: inFiles, Usage: "PATH...", Summary: "print a path without its last element", Example: "dirname /usr/lib/modules", Run: dirName, Plain: true},
		{Name: "du", Group: inFiles, Usage: "[FLAGS] [FILE...]", Summary: "show how much space files take", Example: "du -hd1 /var | sort -h", Run: countSpace},
		{Name: "find", Group: inFiles, Usage: "[FOLDER...] [TESTS] [ACTIONS]", Summary: "find files",
			Example: "find /var -name '*.log' -size +1M\nfind /etc -type l -exec readlink -f {} \\;", Run: findFiles, Plain: true,
			About: "Tests: -name -iname -path -type [fdlpsbc] -size N[ckMG] -mtime -mmin -newer FILE\n" +
				"  -perm -user -group -links -inum -empty; joined by -a, -o, ! and ( ).\n" +
				"  A number is met exactly as N, exceeded as +N and undercut as -N.\n" +
				"Options: -maxdepth -mindepth -xdev -depth\nActions: -print -print0 -exec COMMAND {} \\; -delete -prune"},
		{Name: "gunzip", Group: inFiles, Usage: "[FLAGS] [FILE...]", Summary: "decompress files", Example: "gunzip log.gz", Run: compress},
		{Name: "gzip", Group: inFiles, Usage: "[FLAGS] [FILE...]", Summary: "compress files", Example: "dmesg | gzip > /var/dmesg.gz", Run: compress},
		{Name: "ln", Group: inFiles, Usage: "[FLAGS] SOURCE... TARGET", Summary: "make links", Example: "ln -s /var/lib/data /tmp/data", Run: linkFiles},
		{Name: "ls", Group: inFiles, Usage: "[FLAGS] [FILE...]", Summary: "list files", Example: "ls -lt /var/log | head", Run: listFiles},
		{Name: "md5sum", Group: inFiles, Usage: "[-c] [FILE...]", Summary: "print or check MD5 sums", Example: "md5sum image", Run: checksums},
		{Name: "mkdir", Group: inFiles, Usage: "[FLAGS] FOLDER...", Summary: "make folders", Example: "mkdir -p /tmp/a/b", Run: makeDirectories},
		{Name: "mktemp", Group: inFiles, Usage: "[-d] [TEMPLATE]", Summary: "make a temporary file or folder", Example: "d=$(mktemp -d /tmp/work.XXXXXX)", Run: makeTemporary},
		{Name: "mountpoint", Group: inFiles, Usage: "[-q] FOLDER", Summary: "tell whether something is mounted at a folder", Example: "mountpoint /var || echo missing", Run: isMountPoint},
		{Name: "mv", Group: inFiles, Usage: "[FLAGS] SOURCE... TARGET", Summary: "move or rename files", Example: "mv draft final", Run: moveFiles},
		{Name: "readlink", Group: inFiles, Usage: "[-f] LINK...", Summary: "print where symbolic links lead", Example: "readlink -f /sys/class/net/eth0/device", Run: readLinks},
		{Name: "realpath", Group: inFiles, Usage: "PATH...", Summary: "print a path without links and dots", Example: "realpath /proc/self/exe", Run: readLinks},
		{Name: "rm", Group: inFiles, Usage: "[FLAGS] FILE...", Summary: "remove files", Example: "rm -r /tmp/work", Run: removeFiles},
		{Name: "rmdir", Group: inFiles, Usage: "FOLDER...", Summary: "remove empty folders", Example: "rmdir /tmp/empty", Run: removeDirectories},
		{Name: "sha1sum", Group: inFiles, Usage: "[-c] [FILE...]", Summary: "print or check SHA-1 sums", Example: "sha1sum image", Run: checksums},
		{Name: "sha256sum", Group: inFiles, Usage: "[-c] [FILE...]", Summary: "print or check SHA-256 sums", Example: "sha256sum vmlinuz > sums\nsha256sum -c sums", Run: checksums},
		{Name: "sha512sum", Group: inFiles, Usage: "[-c] [FILE...]", Summary: "print or check SHA-512 sums", Example: "sha512sum image", Run: checksums},
		{Name: "shasum", Group: inFiles, Usage: "[-a 1|256|512] [-c] [FILE...]", Summary: "print or check SHA sums", Example: "shasum -a 256 image", Run: checksums},
		{Name: "stat", Group: inFiles, Usage: "[FLAGS] FILE...", Summary: "show all that is known of files", Example: "stat -c '%a %U:%G %n' /etc/*", Run: statFiles,
			About: "Of -c: %n name, %N with the target of a link, %s size, %b blocks, %o block size,\n" +
				"  %i inode, %h links, %d device, %t %T device type, %a %A mode, %f mode in hex,\n" +
				"  %F type, %u %U owner, %g %G group, %x %y %z times of access, content and\n  state, %X %Y %Z in seconds; a width may stand before the letter."},
		{Name: "sync", Group: inFiles, Usage: "[FILE...]", Summary: "write what is cached to the disks", Example: "sync", Run: syncDisks},
		{Name: "tar", Group: inFiles, Usage: "-c|-x|-t [-zv] [-f ARCHIVE] [-C FOLDER] [FILE...]", Summary: "pack and unpack archives",
			Example: "tar -czf /tmp/log.tgz -C /var log\ntar -xf /tmp/log.tgz -C /tmp", Run: tarFiles, About: "Nothing is ever unpacked outside of the folder."},
		{Name: "touch", Group: inFiles, Usage: "[-amc] [-d TIME] FILE...", Summary: "make empty files or set their times", Example: "touch /tmp/flag", Run: touchFiles, Plain: true},
		{Name: "zcat", Group: inFiles, Usage: "[FILE...]", Summary: "print compressed files", Example: "zcat /proc/config.gz | grep XFS", Run: compress},

		{Name: "base64", Group: inText, Usage: "[-d] [FILE]", Summary: "encode or decode base64", Example: "# carry a small file over a serial line\ngzip -c file | base64", Run: base64Lines, Plain: true},
		{Name: "cat", Group: inText, Usage: "[FLAGS] [FILE...]", Summary: "print files", Example: "cat /proc/cmdline", Run: catFiles},
		{Name: "cut", Group: inText, Usage: "-f|-b|-c LIST [-d CHARACTER] [FILE...]", Summary: "print parts of lines", Example: "cut -d: -f1,3- /etc/passwd", Run: cutLines},
		{Name: "grep", Group: inText, Usage: "[FLAGS] PATTERN [FILE...]", Summary: "print lines that match a regular expression",
			Example: "dmesg | grep -i 'xfs\\|nvme'\ngrep -rn -A2 panic /var/log", Run: grepFiles, About: "The exit code is 0 after a match, 1 without one, 2 after an error."},
		{Name: "head", Group: inText, Usage: "[-n N] [-c BYTES] [FILE...]", Summary: "print the first lines", Example: "head -20 /proc/meminfo\nhead -c 1M /dev/zero > zeros", Run: headFiles},
		{Name: "hexdump", Group: inText, Usage: "[-n BYTES] [-s BYTES] [FILE...]", Summary: "print bytes as hexadecimal numbers and text", Example: "hexdump -s 512 -n 92 /dev/sda", Run: dumpHex},
		{Name: "less", Group: inText, Usage: "[FILE...]", Summary: "show a text page by page", Example: "dmesg | less", Run: page, About: "Keys: space next page, b back, enter next line, k line back, / search,\nn search again, g start, G end, q leave."},
		{Name: "more", Group: inText, Usage: "[FILE...]", Summary: "the same as less", Example: "more /proc/mounts", Run: page},
		{Name: "seq", Group: inText, Usage: "[FIRST [STEP]] LAST", Summary: "print numbers", Example: "for i in $(seq 1 5); do ping -c1 10.0.0.$i; done", Run: countUp},
		{Name: "sort", Group: inText, Usage: "[FLAGS] [FILE...]", Summary: "sort lines", Example: "du -d1 /var | sort -nr | head", Run: sortLines},
		{Name: "tail", Group: inText, Usage: "[-n N] [-c BYTES] [-f] [FILE...]", Summary: "print the last lines", Example: "tail -f /var/log/pods/x.log\ntail -n +2 table", Run: tailFiles},
		{Name: "tee", Group: inText, Usage: "[-a] [FILE...]", Summary: "copy the input to files and to the output", Example: "ip route | tee /tmp/routes", Run: teeFiles},
		{Name: "tr", Group: inText, Usage: "[-cds] SET [SET]", Summary: "replace, delete or squeeze characters", Example: "tr ' ' '\\n' < /proc/cmdline", Run: translate},
		{Name: "uniq", Group: inText, Usage: "[FLAGS] [FILE...]", Summary: "leave out repeated lines", Example: "cut -d' ' -f1 log | sort | uniq -c", Run: uniqueLines},
		{Name: "wc", Group: inText, Usage: "[FLAGS] [FILE...]", Summary: "count lines, words and bytes", Example: "ls /sys/module | wc -l", Run: countWords},
		{Name: "xargs", Group: inText, Usage: "[FLAGS] [COMMAND [ARG...]]", Summary: "run a command with arguments from the input",
			Example: "find /tmp -name '*.tmp' -print0 | xargs -0 rm", Run: runWith, About: "The exit code is 123 if a command failed, 124 if one returned 255, 125 if a\nsignal ended one, 126 or 127 if it cannot be run."},

		{Name: "env", Group: inProcesses, Usage: "[-i] [-u NAME] [NAME=VALUE...] [COMMAND [ARG...]]", Summary: "show the environment or run a command in another", Example: "env -i TERM=vt100 /usr/bin/program", Run: withEnvironment},
		{Name: "id", Group: inProcesses, Usage: "[FLAGS] [USER]", Summary: "show user and groups", Example: "id -u", Run: showIdentity},
		{Name: "kill", Group: inProcesses, Usage: "[-SIGNAL] PID...", Summary: "send a signal to processes", Example: "kill -HUP 123\nkill -l", Run: sendSignal, Plain: true},
		{Name: "nproc", Group: inProcesses, Usage: "", Summary: "print the number of processors", Example: "nproc", Run: showProcessors},
		{Name: "pidof", Group: inProcesses, Usage: "NAME...", Summary: "find processes by the name of their program", Example: "kill $(pidof containerd)", Run: showPIDs, Plain: true},
		{Name: "ps", Group: inProcesses, Usage: "[-p PID]", Summary: "list processes", Example: "ps | grep kubelet", Run: showProcesses, About: "All processes are shown; aux, -ef and the like change nothing.\nRSS is the resident memory, TIME the processor time."},
		{Name: "sleep", Group: inProcesses, Usage: "TIME...", Summary: "wait", Example: "sleep 0.5\nsleep 2m", Run: sleepFor},
		{Name: "umask", Group: inProcesses, Usage: "[MASK]", Summary: "show or set which permissions new files lack", Example: "umask 077", Run: setUmask},

		{Name: "date", Group: inSystem, Usage: "[FLAGS] [+FORMAT]", Summary: "show or set the time", Example: "date -u +%FT%TZ\ndate -s '2026-11-23 12:00:00'", Run: showDate},
		{Name: "dmesg", Group: inSystem, Usage: "[FLAGS]", Summary: "show the kernel log", Example: "dmesg -l warn+ | tail\ndmesg -w", Run: kernelLog},
		{Name: "free", Group: inSystem, Usage: "[FLAGS]", Summary: "show how much memory is in use", Example: "free -h", Run: showMemory},
		{Name: "hostname", Group: inSystem, Usage: "[NAME]", Summary: "show or set the host name", Example: "hostname", Run: hostName},
		{Name: "lsmod", Group: inSystem, Usage: "", Summary: "list the kernel's modules", Example: "lsmod | grep xfs", Run: showModules},
		{Name: "uname", Group: inSystem, Usage: "[FLAGS]", Summary: "show the kernel's name and version", Example: "uname -r", Run: showKernel},
		{Name: "uptime", Group: inSystem, Usage: "[-s]", Summary: "show how long the machine has been running", Example: "uptime", Run: showUptime},

		{Name: "ip", Group: inNetwork, Usage: "[-4|-6] [-br] address|link|route|neighbour [VERB ...]", Summary: "show and change interfaces, addresses and routes",
			Example: "ip -br address\nip link set eth0 up\nip address add 10.0.0.2/24 dev eth0\nip route add default via 10.0.0.1", Run: showNetwork, Plain: true,
			About: "address: show [dev NAME], add|del|replace ADDRESS/LENGTH dev NAME,\n  flush dev NAME\n" +
				"link: show [NAME], set NAME up|down|mtu N|address MAC|name NAME|master NAME\n" +
				"route: show [dev NAME] [table N], add|del|replace default|PREFIX [via ADDRESS]\n  [dev NAME] [src ADDRESS] [metric N] [table N]\nneighbour: show\nWords may be abbreviated: ip a, ip r."},
		{Name: "ping", Group: inNetwork, Usage: "[FLAGS] HOST", Summary: "see whether a host answers", Example: "ping -c 3 10.0.0.1", Run: pingHost},

		{Name: "clear", Group: inTheShell, Usage: "", Summary: "clear the screen, as ctrl-L does", Example: "clear", Run: clearScreen},
		{Name: "command", Group: inTheShell, Usage: "-v|-V NAME...", Summary: "tell what a command is", Example: "command -v modprobe", Run: whichCommand, Plain: true},
		{Name: "help", Group: inTheShell, Usage: "[NAME]", Summary: "list the commands or explain one", Example: "help\nhelp grep", Run: showHelp, Plain: true},
		{Name: "history", Group: inTheShell, Usage: "[-c]", Summary: "list the lines typed, or forget them", Example: "history | grep mount", Run: showHistory},
		{Name: "sh", Group: inTheShell, Usage: "[-c COMMANDS | SCRIPT] [ARG...]", Summary: "run a script in a shell of its own", Example: "sh -c 'cd /tmp; ls'", Run: runShell},
		{Name: "type", Group: inTheShell, Usage: "NAME...", Summary: "tell what a command is", Example: "type ls", Run: whichCommand, Plain: true},
		{Name: "which", Group: inTheShell, Usage: "NAME...", Summary: "tell what a command is", Example: "which mount", Run: whichCommand, Plain: true},
	}
}
