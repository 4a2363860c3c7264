"""Why something could not be read: each reason, and what it means in words."""

from __future__ import annotations

REASONS: dict[str, str] = {
    # files and folders
    "ending_not_read": "a file of an ending that is not read",
    "not_readable": "the file system refused: permissions, or a fault of the disk",
    "not_a_file": "a device, a pipe or a link inside an archive",
    "dangling_link": "a link to nothing",
    "link_loop": "a link to itself, or to a folder that it lies in",
    "linked_twice": "a folder that is read under another name, because of a link",
    "changed_while_reading": "somebody wrote to the file while it was read",
    # what is packed
    "truncated": "the file ends too early",
    "damaged": "its bytes are not what its format says",
    "expands_too_much": "it unpacks to so much more than its size that it is taken for a bomb",
    "too_many_members": "an archive of too many files",
    "path_escapes": "a file in an archive whose name leads out of it",
    "nested_archive": "an archive in an archive",
    "encrypted": "it needs a password or a key",
    "too_large": "it would have to be held whole and is too large for that",
    # text
    "empty": "nothing in it: no text but white space, no rows, no files that are read",
    "has_nul": "NUL bytes: not text",
    "not_utf8": "not UTF-8, and no other encoding that is certain",
    "no_text": "a document of pictures, or a page with nothing in it",
    "not_pdf": "not a PDF, or one that is damaged",
    "not_docx": "not a Word document, or one that is damaged",
    "not_epub": "not an EPUB, or one that is damaged",
    "not_html": "a page that cannot be parsed",
    # rows
    "not_json": "a row that is not JSON",
    "not_csv": "a row whose quotes do not close",
    "row_of_other_length": "a row of more or fewer fields than there are columns",
    "not_parquet": "not a Parquet file, or one that is damaged",
    "columns_not_known": "no column that holds text",
    "column_named_twice": "two columns of one name, of which either may hold the text",
    "row_is_no_object": "a row that is text, a list or a number",
    "not_a_string": "a field that should be text and is not",
    "messages_not_a_list": "a chat that is not a list of messages",
    "no_messages": "a chat without messages",
    "message_without_role": "a message that does not say who speaks",
    "empty_message": "a message that says nothing",
    "unknown_role": "a message of a role that is not known",
    "roles_out_of_order": "messages that do not take turns",
    "no_assistant_turn": "a chat in which the assistant says nothing",
    "equal_sides": "a preference pair of two equal replies",
    "prompts_differ": "a preference pair whose replies do not answer the same prompt",
    # web archives
    "not_warc": "not a web archive",
    "http_not_ok": "a page that the server did not give: moved, not found, failed",
    "media_type_not_read": "a picture, a script, data: nothing that is read from a web archive",
    "content_encoding_not_read": "a page compressed in a way that is not read",
    "revisit": "a page that another record holds",
}
