/* The library that root_globals.c loads. */
void *volatile library_zeroed[20];
/* The last element is no block; it puts the array into the initialised data. */
void *volatile library_initialised[21] = {[20] = (void *)1};
