/* A PKCS#11 library that waits before each call of another one, as a token over a slow network.

   The variable SLOW_MODULE has the path of the other library, and the file that SLOW_FILE names has
   the milliseconds to wait, none if it is missing. */

#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define FUNCTIONS 68 /* of CK_FUNCTION_LIST in version 2.40 of PKCS #11 */

/* Each takes up to eight numbers or pointers, and further ones do no harm. */
typedef unsigned long (*function)(long, long, long, long, long, long, long, long);

struct list {
    unsigned char version[2];
    function functions[FUNCTIONS];
};

static struct list *real;

static void delay(void)
{
    FILE *file = fopen(getenv("SLOW_FILE"), "r");
    int milliseconds = 0;

    if (file == NULL)
        return;
    if (fscanf(file, "%d", &milliseconds) == 1)
        poll(NULL, 0, milliseconds);
    fclose(file);
}

#define TEN(MACRO, tens) \
    MACRO(tens##0) MACRO(tens##1) MACRO(tens##2) MACRO(tens##3) MACRO(tens##4) \
    MACRO(tens##5) MACRO(tens##6) MACRO(tens##7) MACRO(tens##8) MACRO(tens##9)
#define ALL(MACRO) \
    TEN(MACRO, ) TEN(MACRO, 1) TEN(MACRO, 2) TEN(MACRO, 3) TEN(MACRO, 4) TEN(MACRO, 5) \
    MACRO(60) MACRO(61) MACRO(62) MACRO(63) MACRO(64) MACRO(65) MACRO(66) MACRO(67)

#define SLOW(number) \
    static unsigned long slow##number( \
        long a, long b, long c, long d, long e, long f, long g, long h) \
    { \
        delay(); \
        return real->functions[number](a, b, c, d, e, f, g, h); \
    }
#define NAME(number) slow##number,

ALL(SLOW)

static struct list slow = {{0, 0}, {ALL(NAME)}};

unsigned long C_GetFunctionList(struct list **found)
{
    void *library = dlopen(getenv("SLOW_MODULE"), RTLD_NOW);
    unsigned long (*get)(struct list **);
    unsigned long status;

    if (library == NULL)
        return 5; /* CKR_GENERAL_ERROR */
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    status = get(&real);
    slow.version[0] = real->version[0];
    slow.version[1] = real->version[1];
    *found = &slow;
    return status;
}
