#ifndef BND_BASE_VERSION_H
#define BND_BASE_VERSION_H

/* As in CMakeLists.txt; raised by each release. */
#define BND_VERSION_TEXT "0.1.0"

#endif
