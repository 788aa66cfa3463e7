/* A module that gives all its callers the same function list of p11-kit's client.

p11-kit makes a new list, with a connection of its own, for each call of C_GetFunctionList. But
minikms-pkcs11 initialises a library by one list, and python-pkcs11 uses it by another. */

#include <dlfcn.h>
#include <stddef.h>

unsigned long C_GetFunctionList(void **list)
{
    static void *first;
    if (first == NULL) {
        void *module = dlopen(MODULE, RTLD_NOW);
        unsigned long (*get)(void **) = NULL;
        if (module != NULL)
            *(void **)&get = dlsym(module, "C_GetFunctionList");
        if (get == NULL || get(&first) != 0)
            return 6; /* CKR_FUNCTION_FAILED */
    }
    *list = first;
    return 0;
}
