# What is installed, and the .deb that CPack makes of it: `cpack -G DEB` in a release build.
set(package ${CMAKE_SOURCE_DIR}/tools/package)
set(doc share/doc/bindery)

install(TARGETS bindery RUNTIME DESTINATION bin)
install(FILES ${package}/bindery.service ${package}/bindery-gateway.service DESTINATION lib/systemd/system)
install(FILES ${package}/bindery.sysusers DESTINATION lib/sysusers.d RENAME bindery.conf)
install(FILES ${package}/bindery.tmpfiles DESTINATION lib/tmpfiles.d RENAME bindery.conf)
install(FILES ${package}/bindery.toml ${package}/gateway.toml DESTINATION /etc/bindery)
install(FILES README.md CHANGELOG.md SPEC.md DESTINATION ${doc})
install(FILES LICENSE DESTINATION ${doc} RENAME copyright)
install(DIRECTORY docs/ops/ DESTINATION ${doc}/ops)

# The manual page and completions are what the program itself prints.
function(bnd_print file) # bnd_print(FILE WORDS...): FILE, below the build directory, is what `bindery WORDS...` prints
    get_filename_component(dir ${CMAKE_BINARY_DIR}/${file} DIRECTORY)
    file(MAKE_DIRECTORY ${dir})
    add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/${file}
        COMMAND $<TARGET_FILE:bindery> ${ARGN} > ${CMAKE_BINARY_DIR}/${file}
        DEPENDS bindery VERBATIM)
    set_property(GLOBAL APPEND PROPERTY BND_PRINTED ${CMAKE_BINARY_DIR}/${file})
endfunction()
bnd_print(man/bindery.1 man)
bnd_print(completion/bindery.bash completion bash)
bnd_print(completion/_bindery completion zsh)
bnd_print(completion/bindery.fish completion fish)
get_property(printed GLOBAL PROPERTY BND_PRINTED)
add_custom_target(printed ALL DEPENDS ${printed})
install(FILES ${CMAKE_BINARY_DIR}/man/bindery.1 DESTINATION share/man/man1)
install(FILES ${CMAKE_BINARY_DIR}/completion/bindery.bash DESTINATION share/bash-completion/completions RENAME bindery)
install(FILES ${CMAKE_BINARY_DIR}/completion/_bindery DESTINATION share/zsh/vendor-completions)
install(FILES ${CMAKE_BINARY_DIR}/completion/bindery.fish DESTINATION share/fish/vendor_completions.d)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME bindery)
set(CPACK_PACKAGE_CONTACT "Bindery maintainers <bindery@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "storage cluster under Cloudflare Workers, on one's own machines")
set(CPACK_PACKAGE_DESCRIPTION "One binary, three or more nodes: replicated S3 and R2 objects and\n\
Durable Objects for unmodified workerd, wrangler and S3 clients.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, chrony | time-daemon")
file(WRITE ${CMAKE_BINARY_DIR}/package/conffiles "/etc/bindery/bindery.toml\n/etc/bindery/gateway.toml\n")
file(CHMOD ${CMAKE_BINARY_DIR}/package/conffiles PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/package/conffiles ${package}/postinst ${package}/prerm
    ${package}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
