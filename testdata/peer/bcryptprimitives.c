/* The one function of bcryptprimitives.dll that programs in Go need and Wine 8 lacks: random bytes. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n)
{
	return SystemFunction036(p, (ULONG)n);
}
