-- What one insert brings is one file, not one for each of 24 columns; merging makes it columnar.
ALTER TABLE evaluation_records MODIFY SETTING min_bytes_for_wide_part = 134217728, min_rows_for_wide_part = 0;
