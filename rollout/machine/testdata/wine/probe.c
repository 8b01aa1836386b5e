/* Two programs in one, for tests of what a command line means to cmd.exe.
 *
 *   run.exe FILE          starts cmd.exe /c with the line that is in FILE, byte for byte, as WinRM does, and ends as it ends
 *   any other name        adds the command line that it was started with to the file in PROBE_LOG, prints its name, and
 *                         ends with the code in PROBE_name, else 0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static int run(const char *file)
{
	static char line[16384] = "cmd.exe /c ";
	size_t at = strlen(line);
	FILE *f = fopen(file, "rb");
	STARTUPINFOA start = { sizeof start };
	PROCESS_INFORMATION process;
	DWORD code = 255;

	if (!f)
		return 254;
	at += fread(line + at, 1, sizeof line - at - 1, f);
	line[at] = 0;
	fclose(f);
	if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &process))
		return 253;
	WaitForSingleObject(process.hProcess, INFINITE);
	GetExitCodeProcess(process.hProcess, &code);
	return (int)code;
}

int main(int argc, char **argv)
{
	char self[MAX_PATH], name[80], *base, *code;
	FILE *log;

	GetModuleFileNameA(NULL, self, sizeof self);
	base = strrchr(self, '\\');
	base = base ? base + 1 : self;
	if (!_stricmp(base, "run.exe"))
		return argc > 1 ? run(argv[1]) : 252;
	base[strcspn(base, ".")] = 0;
	log = fopen(getenv("PROBE_LOG"), "ab");
	if (log) {
		fprintf(log, "%s\n", GetCommandLineA());
		fclose(log);
	}
	printf("%s was here\n", base);
	snprintf(name, sizeof name, "PROBE_%s", base);
	code = getenv(name);
	return code ? atoi(code) : 0;
}
