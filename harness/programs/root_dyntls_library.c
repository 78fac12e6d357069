/* The library that root_dyntls.c loads. */
static __thread void *volatile slots[20];

/* The calling thread's slots; the first call makes the dynamic linker allocate them. */
void *volatile *slots_of_this_thread(void)
{
    return slots;
}
